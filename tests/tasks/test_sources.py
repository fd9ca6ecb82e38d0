"""GLUE's own files in all eight layouts, and everything that can be wrong with them."""

import re
from pathlib import Path

import pytest

from krona.messages import KronaError
from tasks.glue_files import NAMES, label, task, text, write
from tasks.own_task import load

LARGE = ("sst2", "qnli", "qqp")


def sizes(name: str) -> dict[str, int]:
    return {"train": 1012, "dev": 7} if name in LARGE else {"train": 12, "dev": 7}


@pytest.mark.parametrize("name", NAMES)
def test_each_layout_is_read_by_column_name(name: str, tmp_path: Path) -> None:
    write(tmp_path, name, **sizes(name))
    got = load(task(name), kind="tsv", path=str(tmp_path))
    whole = dict(zip(got.train.ids, zip(got.train.sources, got.train.targets, strict=True), strict=True))
    dev = dict(zip(got.dev.ids, zip(got.dev.sources, got.dev.targets, strict=True), strict=True))
    rows = whole | {row: dev[row] for row in dev if row.startswith("train")}
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
    assert got.kind == "glue"
    expected = {"mnli": (12, 7, 7)} | dict.fromkeys(LARGE, (12, 1000, 7))
    assert (len(got.train), len(got.dev), len(got.test)) == expected.get(name, (12, 3, 4))


@pytest.mark.parametrize("name", NAMES)
def test_byte_order_mark_crlf_and_blank_last_lines_change_nothing(name: str, tmp_path: Path) -> None:
    write(tmp_path / "plain", name, **sizes(name))
    inner = write(tmp_path / "other", name, **sizes(name), end="\r\n", head="\ufeff")
    for file in inner.iterdir():
        file.write_bytes(file.read_bytes() + b"\r\n\n")
    plain = load(task(name), kind="tsv", path=str(tmp_path / "plain"))
    assert load(task(name), kind="tsv", path=str(tmp_path / "other")) == plain
    assert load(task(name), kind="tsv", path=str(inner)) == plain  # FOLDER/train.tsv


@pytest.mark.parametrize("name", ["rte", "mnli", "qnli"])
def test_labels_as_ids_are_labels_as_words(name: str, tmp_path: Path) -> None:
    inner = write(tmp_path, name, **sizes(name))
    words = load(task(name), kind="tsv", path=str(tmp_path))
    for file in inner.iterdir():
        content = file.read_text()
        for word, number in (("not_entailment", 1), ("entailment", 0), ("neutral", 1), ("contradiction", 2)):
            content = re.sub(rf"\b{word}$", str(number), content, flags=re.MULTILINE)
        file.write_text(content)
    assert load(task(name), kind="tsv", path=str(tmp_path)) == words


def test_line_separators_of_unicode_are_text(tmp_path: Path) -> None:
    inner = write(tmp_path, "rte")
    (inner / "train.tsv").write_text(text("rte", 3).replace("hello", "a\u2028b\x0cc\x85d"))
    assert load(task("rte"), kind="tsv", path=str(tmp_path)).train.sources[0].count("a\u2028b\x0cc\x85d") == 1


def broken(tmp_path: Path, old: str, new: str) -> Path:
    inner = write(tmp_path, "rte")
    content = (inner / "train.tsv").read_text()
    assert old in content
    (inner / "train.tsv").write_text(content.replace(old, new, 1))
    return inner / "train.tsv"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n4\t", "\n4\textra\t", ":6: 5 fields, but the file has 4 columns"),
        ("\n4\t", "\n\n4\t", ":6: 1 field, but the file has 4 columns"),
        ("ünder 4.\tentailment", "x\tperhaps", ":6: label 'perhaps' is not one of entailment (0), not_entailment (1)"),
    ],
)
def test_a_bad_row_is_an_error_with_its_line_or_counted(old: str, new: str, message: str, tmp_path: Path) -> None:
    file = broken(tmp_path, old, new)
    with pytest.raises(KronaError, match=re.escape(f"{file}{message}")) as caught:
        load(task("rte"), kind="tsv", path=str(tmp_path))
    assert "data.skip_bad_rows=true" in str(caught.value)
    got = load(task("rte"), kind="tsv", path=str(tmp_path), skip_bad_rows=True)
    assert got.train.skipped_rows == 1
    assert got.dev.skipped_rows == 0
    assert len(got.train) == (12 if new == "\n\n4\t" else 11)
    assert "train-11" in got.train.ids  # ids are places in the file


def test_a_dash_as_gold_label_is_a_bad_label(tmp_path: Path) -> None:
    inner = write(tmp_path, "mnli")
    file = inner / "dev_matched.tsv"
    file.write_text(file.read_text().replace("neutral\n", "-\n", 1))
    with pytest.raises(KronaError, match=r"dev_matched\.tsv:\d+: label '-' is not one of entailment \(0\), neutral"):
        load(task("mnli"), kind="tsv", path=str(tmp_path))
    assert load(task("mnli"), kind="tsv", path=str(tmp_path), skip_bad_rows=True).test.skipped_rows == 1


def test_files_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    file = write(tmp_path, "rte") / "train.tsv"
    whole = file.read_bytes()

    def fails(content: bytes, message: str) -> None:
        file.write_bytes(content)
        with pytest.raises(KronaError, match=re.escape(f"{file}{message}")):
            load(task("rte"), kind="tsv", path=str(tmp_path), skip_bad_rows=True)

    latin = whole.decode().encode("latin-1")
    fails(latin, f":2: not UTF-8: byte 0xfc at offset {latin.index(0xFC)}")
    fails(whole.decode().encode("utf-16"), ":1: not UTF-8: byte 0xff at offset 0")
    fails(b"index\tsentence1\tsentence2\tlabel\n".decode().encode("utf-16-le"), ":1: not UTF-8: byte 0x00 at offset 1")
    fails(b"", " is empty (0 bytes)")
    fails(b"\n \n", " is empty (3 bytes)")
    fails(b"index\tsentence1\tsentence2\tlabel\n", ": a split with no rows")
    fails(whole.replace(b"sentence2", b"sentense2"), " has no column 'sentence2': did you mean 'sentense2'?")
    fails(whole.replace(b"index", b"label"), " has 2 columns named 'label'")
    fails(re.sub(rb"(not_)?entailment", b"what", whole), ": a split with no rows: none of its 12 rows can be used")


def test_a_column_that_only_looks_like_another_is_named(tmp_path: Path) -> None:
    inner = write(tmp_path, "mrpc")
    (inner / "dev.tsv").write_text(text("mrpc", 4).replace("#2 String", "#2 string"))
    with pytest.raises(KronaError, match=r"no column '#2 String': did you mean '#2 string'\?"):
        load(task("mrpc"), kind="tsv", path=str(tmp_path))


def test_folders_that_do_not_hold_the_task(tmp_path: Path) -> None:
    def fails(path: Path | None, message: str) -> None:
        with pytest.raises(KronaError, match=re.escape(message)):
            load(task("rte"), kind="tsv", path=None if path is None else str(path))

    fails(None, "data.path=FOLDER")
    fails(tmp_path / "nowhere", "no such folder")
    (tmp_path / "file").write_text("x")
    fails(tmp_path / "file", "not a folder")
    inner = write(tmp_path / "glue", "mrpc")
    fails(tmp_path / "glue", "does not hold all files of task rte: neither")
    fails(tmp_path / "glue", "(there is: MRPC)")
    (inner / "dev.tsv").unlink()
    with pytest.raises(KronaError, match="does not hold all files of task mrpc"):
        load(task("mrpc"), kind="tsv", path=str(tmp_path / "glue"))


def test_data_and_task_must_fit() -> None:
    with pytest.raises(KronaError, match=r"add data=sample \(or profile=demo\), or take task=rte"):
        load(task("sample_rte"), kind="tsv", path=".")
    with pytest.raises(KronaError, match="take task=sample_rte"):
        load(task("rte"), kind="sample")
    with pytest.raises(KronaError, match=r"data.kind 'tvs': did you mean 'tsv'\?"):
        load(task("rte"), kind="tvs")


def test_sample_tasks_come_in_their_own_splits() -> None:
    got = load(task("sample_sst2"), kind="sample")
    assert got.kind == "sample"
    assert min(len(got.train), len(got.dev), len(got.test)) >= 100
    assert set(got.train.targets) == {"0", "1"}
    assert not set(got.train.sources) & set(got.test.sources)
    assert got == load(task("sample_sst2"), kind="sample", seed=7)  # nothing is drawn from them


GLUE = Path(__file__).parents[3] / "shared" / "glue"


@pytest.mark.skipif(not GLUE.is_dir(), reason="the real GLUE files are not at ../shared/glue")
@pytest.mark.parametrize(
    ("name", "expected"),
    [("cola", (8551, 521, 522)), ("rte", (2490, 138, 139)), ("sst2", (66349, 1000, 872))],
)
def test_the_real_files_give_the_papers_splits(name: str, expected: tuple[int, int, int]) -> None:
    got = load(task(name), kind="tsv", path=str(GLUE))
    assert (len(got.train), len(got.dev), len(got.test)) == expected
    assert got.train.skipped_rows == got.test.skipped_rows == 0
