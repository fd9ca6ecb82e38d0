"""Test the data sources: GLUE's own files in eight layouts, sample tasks, a user's files, and the fingerprints."""

import os
import re
import sys
from pathlib import Path

import pytest

from krona.messages import KronaError
from krona.paper import TASKS
from krona.tasks import Data, Task, data_fingerprint
from krona.tasks.data_sources import SAMPLE_FOLDERS, SAMPLE_SUPERGLUE, own_files, require_files, sample_files
from tasks.glue_files import label, task, unpack_samples, write
from tasks.own_task import lines, load, mood, read
from typed_run import output_of

LARGE = ("sst2", "qnli", "qqp")


@pytest.mark.parametrize("name", TASKS)
def test_each_layout_is_read_by_column_name(name: str, tmp_path: Path) -> None:
    inner = write(tmp_path, name, train=1012 if name in LARGE else 12)
    got = load(task(name), kind="tsv", path=str(tmp_path))
    assert load(task(name), kind="tsv", path=str(inner)) == got  # FOLDER/train.tsv
    rows = {
        row: (source, target)
        for split in (got.train, got.dev)
        for row, source, target in zip(split.ids, split.sources, split.targets, strict=True)
    }
    first, second = 'The cat no. 3 said "hello.', "A cat 's ünder 3."
    texts = {
        "cola": f"sentence: {first}",
        "sst2": f"sentence: {first} ",
        "qqp": f"question1: {first} question2: {second}",
        "qnli": f"question: {first} sentence: {second}",
        "mnli": f"premise: {first} hypothesis {second}",
    }
    word = {"entailment": "0", "neutral": "1", "not_entailment": "1", "contradiction": "2"}
    target = f"{float(label(name, 3)):.1f}" if name == "stsb" else word.get(label(name, 3), label(name, 3))
    assert rows["train-3"] == (texts.get(name, f"sentence1: {first} sentence2: {second}"), target)
    expected = {"mnli": (12, 7, 7)} | dict.fromkeys(LARGE, (12, 1000, 7))
    assert (len(got.train), len(got.dev), len(got.test)) == expected.get(name, (12, 3, 4))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n4\t", "\n4\textra\t", ":6: the row has 5 fields, but the file has 4 columns"),
        ("ünder 4.\tentailment", "x\tperhaps", ":6: label 'perhaps' is not one of entailment (0), not_entailment (1)"),
    ],
)
def test_a_bad_row_is_an_error_with_its_line_or_counted(old: str, new: str, message: str, tmp_path: Path) -> None:
    file = write(tmp_path, "rte") / "train.tsv"
    content = file.read_text().replace(old, new, 1)
    assert content != file.read_text()
    file.write_text(content)
    with pytest.raises(KronaError, match=re.escape(f"{file}{message}")) as caught:
        load(task("rte"), kind="tsv", path=str(tmp_path))
    assert "data.skip_bad_rows=true" in str(caught.value)
    got = load(task("rte"), kind="tsv", path=str(tmp_path), skip_bad_rows=True)
    assert (got.train.official.skipped_rows, got.dev.official.skipped_rows) == (1, 0)
    assert len(got.train) == 11
    assert "train-11" in got.train.ids  # ids are positions in the file


def test_unusable_files_are_refused_with_skip_bad_rows_too(tmp_path: Path) -> None:
    file = write(tmp_path, "rte") / "train.tsv"
    whole = file.read_bytes()
    for content, message in (
        (whole.replace(b"index", b"label"), " has 2 columns named 'label'"),
        (re.sub(rb"(not_)?entailment", b"what", whole), ": none of its 12 rows can be used"),
    ):
        file.write_bytes(content)
        with pytest.raises(KronaError, match=re.escape(f"{file}{message}")):
            load(task("rte"), kind="tsv", path=str(tmp_path), skip_bad_rows=True)


def test_folders_without_the_task(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (write(tmp_path / "glue", "mrpc") / "dev.tsv").unlink()
    for name, path, message in (
        ("rte", None, "data.path=FOLDER"),
        ("rte", tmp_path / "nowhere", "no such folder"),
        ("rte", tmp_path / "file", "not a folder"),
        ("mrpc", tmp_path / "glue", "does not contain all files of task mrpc. It has neither"),
    ):
        with pytest.raises(KronaError, match=re.escape(message)):
            load(task(name), kind="tsv", path=None if path is None else str(path))


def test_data_and_task_must_fit() -> None:
    with pytest.raises(KronaError, match=r"Add data=sample \(or profile=demo\), or use task=rte"):
        load(task("sample_rte"), kind="tsv", path=".")
    for name, kind, path, message in (
        ("rte", "hub", "FOLDER", "data.path=FOLDER is not used with data=hub. Add data=tsv"),
        ("cb", "tsv", ".", "data=tsv does not contain task=cb. Use SuperGLUE itself with data=hub or data=jsonl"),
        ("cb", "hub", ".", "Add data=jsonl, or remove data.path."),
        ("cb", "jsonl", None, "the folder of the SuperGLUE download, which contains CB/"),
    ):
        with pytest.raises(KronaError, match=re.escape(message)):
            require_files(task(name), kind=kind, path=path)
    with pytest.raises(KronaError, match="Use task=sample_rte"):
        load(task("rte"), kind="sample")
    with pytest.raises(KronaError, match=re.escape("files: {train: FILE}")):
        load(Task.from_config({"name": "x", "columns": ["t"], "labels": None, "metrics": ["pearson"]}), kind="tsv")
    with pytest.raises(KronaError, match=r"'wnli'.*cola, rte"):
        sample_files("wnli")


def test_sample_tasks_are_read_as_their_benchmark_and_come_in_their_own_splits(tmp_path: Path) -> None:
    unpack_samples(tmp_path)
    for name in SAMPLE_FOLDERS:
        shipped = load(task(f"sample_{name}"), kind="sample", quoting="csv", seed=7)  # both settings have no effect
        assert [len(split) for split in (shipped.train, shipped.dev, shipped.test)] == [2000, 200, 400]
        assert shipped.dev.ids[:2] == ["dev-0", "dev-1"]
        assert not set(shipped.train.sources) & set(shipped.test.sources)
        rule = "halve_validation" if name != "mnli" else "mnli"
        official = load(task(name, split=rule), kind="jsonl" if name in SAMPLE_SUPERGLUE else "tsv", path=str(tmp_path))
        assert (official.train.sources, official.train.targets) == (shipped.train.sources, shipped.train.targets)
    assert official.dev.sources != shipped.dev.sources


def test_own_files_are_divided_and_relative_to_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("\n".join(lines(100)))
    (tmp_path / "b.csv").write_text("\n".join(lines(9)))
    got = read(tmp_path / "a.csv")
    size = len(got.train)
    number = int(got.train.ids[0].removeprefix("train-"))
    assert (got.train.sources[0], got.train.targets[0]) == (f"text: day {number}", str(number % 3))
    assert load(mood("a.csv"), kind="tsv", path=str(tmp_path)) == got
    for other, expected in (("dev", {"dev", "test"}), ("test", {"test"})):
        got = load(mood({"train": "a.csv", other: "b.csv"}), kind="hub", path=str(tmp_path))
        assert {role for role, split in got.by_role.items() if split.official.rows == 9} == expected
    monkeypatch.chdir(tmp_path)
    assert len(load(mood("a.csv"), kind="hub").train) == size
    monkeypatch.chdir("/")
    with pytest.raises(KronaError, match=r"a\.csv: no such file in /"):
        load(mood("a.csv"), kind="hub")
    assert len(load(mood(str(tmp_path / "a.csv")), kind="sample").train) == size


def test_a_regression_with_two_columns_and_other_names(tmp_path: Path) -> None:
    rows = [f'{{"a": "x {i}", "b": {i}, "how much": {i / 4}, "more": null}}' for i in range(40)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(rows))
    changes = {"columns": ["a", "b"], "labels": None, "label_column": "how much", "metrics": ["pearson", "spearman"]}
    got = read(tmp_path / "pairs.jsonl", task=changes)
    i = int(got.train.ids[0].removeprefix("train-"))
    assert got.train.sources[0] == f"a: x {i} b: {i}"
    assert got.train.targets[0] == str(i / 4)
    rows = [f'{{"a": "x {i}", "b": {i}, "how much": {i / 8}}}' for i in range(2000)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(rows))
    several = read(tmp_path / "pairs.jsonl", task=changes)
    numbers = sorted(map(float, several.train.targets))
    lowest, longest, highest = several.facts["train"]["targets"]  # not all of them in result.json
    assert (float(lowest), len(longest), float(highest)) == (numbers[0], len("100.125"), numbers[-1])


def test_the_fingerprint_depends_on_the_content_only(tmp_path: Path) -> None:
    inner, other = write(tmp_path / "a", "rte"), write(tmp_path / "b", "rte")
    first = data_fingerprint(task("rte"), Data(kind="tsv", path=str(tmp_path / "a")))
    assert first == data_fingerprint(task("rte"), Data(kind="tsv", path=str(inner)))
    assert first == data_fingerprint(task("rte"), Data(kind="tsv", path=str(tmp_path / "b")))
    file = other / "dev.tsv"
    file.write_text(file.read_text().replace("cat", "dog", 1))
    os.utime(file, ns=(1, 1))
    assert first != data_fingerprint(task("rte"), Data(kind="tsv", path=str(tmp_path / "b")))


def test_fingerprints_of_own_files_and_of_the_hub(tmp_path: Path) -> None:
    own = task("rte", files={"train": "a.csv"})
    assert own_files(own, str(tmp_path)) == {"train": tmp_path / "a.csv"}
    assert data_fingerprint(own, Data(kind="hub", path=str(tmp_path))) == "own:absent"
    (tmp_path / "a.csv").write_text("x")
    assert data_fingerprint(own, Data(kind="hub", path=str(tmp_path))).startswith("own:")
    hub = {"kind": "hub", "name": "nyu-mll/glue"}
    assert data_fingerprint(task("rte"), Data(**hub)) == "hub:nyu-mll/glue/rte@main"
    assert data_fingerprint(task("rte"), Data(**hub, revision="abc")) == "hub:nyu-mll/glue/rte@abc"
    assert data_fingerprint(task("sample_rte"), Data(kind="sample")).startswith("sample:")
    for path in (None, "/nowhere", "\0", __file__):
        assert data_fingerprint(task("rte"), Data(kind="tsv", path=path)) == "tsv:absent"


def test_the_fingerprint_needs_neither_torch_nor_datasets(tmp_path: Path) -> None:
    write(tmp_path, "rte")
    code = f"""
import sys
from krona.tasks import Data, Task, data_fingerprint
values = dict(name="rte", columns=["sentence1"], labels=["a", "b"], metrics=["f1"], tsv=dict(folder="RTE"))
task = Task.from_config(values)
print(data_fingerprint(task, Data(kind="tsv", path={str(tmp_path)!r}))[:4])
print([m for m in ("torch", "datasets", "evaluate", "sklearn", "scipy", "transformers", "pandas") if m in sys.modules])
"""
    assert output_of(sys.executable, "-c", code).split("\n")[:2] == ["tsv:", "[]"]
