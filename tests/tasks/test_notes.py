"""Test the row counts in result.json, and the notes about the rows."""

import json
import re
from pathlib import Path

import pytest

from krona.messages import KronaError
from krona.paper import TASKS
from krona.tasks import Splits, Task, notes, official_rows
from krona.tasks.notes import OFFICIAL_ROWS
from tasks.glue_files import CONF, config, task, write
from tasks.own_task import MOODS, lines, load, made_up, mood, read
from tasks.test_splits import SIZES

GLUE = Path(__file__).parents[3] / "shared" / "glue"


def find_note(task: Task, splits: Splits, word: str) -> str:
    """Return the one note that contains ``word``."""
    (note,) = [note for note in notes(task, splits) if word in note]
    return note


def test_clean_rows_have_counts_and_no_notes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join(lines(30)))
    got = read(tmp_path / "a.csv")
    assert notes(mood("a.csv"), got) == []
    assert got.facts["train"].pop("targets") == {label: got.train.targets.count(label) for label in ("0", "1", "2")}
    zeros = dict.fromkeys(("skipped_rows", "empty_texts", "repeated"), 0)
    for name, more in (("train", []), ("dev", ["also_in_train"]), ("test", ["also_in_train", "also_in_dev"])):
        split, facts = got.by_role[name], {key: value for key, value in got.facts[name].items() if key != "targets"}
        expected = {"rows": len(split), "fingerprint": split.fingerprint, **zeros, **dict.fromkeys(more, 0)}
        assert facts == expected


def test_official_rows_are_glues(tmp_path: Path) -> None:
    """The numbers equal those in the comments of conf/task. tests/tasks/test_splits.py checks their splits."""
    for name in TASKS:
        found = official_rows(task(name), made_up(**OFFICIAL_ROWS[name]).official)
        assert found == {part: [rows, rows] for part, rows in OFFICIAL_ROWS[name].items()}
        for text in re.findall(r"([\d,]+) rows;", (CONF / f"{name}.yaml").read_text()):
            assert int(text.replace(",", "")) == OFFICIAL_ROWS[name]["train"]
    write(tmp_path, "rte")
    own = Task.from_config(config("rte") | {"hub_name": None})
    assert official_rows(own, load(own, kind="tsv", path=str(tmp_path)).official) == {}
    sample = load(task("sample_rte"), kind="sample")
    assert official_rows(task("sample_rte"), sample.official) == {}
    assert notes(task("sample_rte"), sample) == []


def test_skipped_rows_are_counted_by_kind_with_the_first_of_each(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_text("\n".join([*lines(20, sep="\t"), "x\tsat", "x\ty\tsad", "one", "x\t" + "s" * 500]) + "\n")
    got = read(file, skip_bad_rows=True)
    assert got.facts["dev"]["skipped_rows"] == 4
    note = find_note(mood("a.tsv"), got, "skip")
    assert "4 of 24 rows of train" in note
    assert "2 unknown label, first a.tsv:22" in note
    assert "sat" not in note, "reports and packs contain the notes, but no text of a row"
    assert "2 wrong number of fields, first a.tsv:23" in note


def test_a_part_that_is_halved_is_noted_once(tmp_path: Path) -> None:
    dev = write(tmp_path, "rte", dev=9) / "dev.tsv"
    dev.write_text(dev.read_text() + "99\tone\n")
    got = load(task("rte"), kind="tsv", path=str(tmp_path), skip_bad_rows=True)
    assert [got.facts[name]["skipped_rows"] for name in ("train", "dev", "test")] == [0, 1, 1]
    assert "1 of 10 rows of validation: " in find_note(task("rte"), got, "skip")


def test_a_row_without_any_text_is_bad_in_every_format(tmp_path: Path) -> None:
    pair = {"columns": ["a", "b"]}
    rows = [{"a": f"day {i}", "b": "" if i == 7 else "x", "label": MOODS[i % 3]} for i in range(40)]
    empty = {"a": " ", "b": "", "label": "sad"}
    for name, text in (
        ("a.csv", "\n".join(["a,b,label", *(",".join(row.values()) for row in [*rows, empty])])),
        ("a.tsv", "\n".join(["a\tb\tlabel", *("\t".join(row.values()) for row in [*rows, empty])])),
        ("a.jsonl", "\n".join(json.dumps(row) for row in [*rows, empty | {"b": None}])),
    ):
        file = tmp_path / name
        file.write_text(text)
        with pytest.raises(KronaError, match=r"a\.\w+:4[12]: the row has no text: 'a' and 'b' are empty\. Correct"):
            read(file, task=pair)
        got = read(file, task=pair, skip_bad_rows=True)
        assert (got.train.official.skipped_rows, got.train.official.rows) == (1, 40)
        line = 8 if name == "a.jsonl" else 9
        assert find_note(mood(name, **pair), got, "empty texts") == (
            f"empty texts in 1 of 41 rows of train (first {name}:{line})"
        )
        empty_in = {role: sum(not b for _, b in split.texts) for role, split in got.by_role.items()}
        assert {role: facts["empty_texts"] for role, facts in got.facts.items()} == empty_in


def test_repeated_rows_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join([*lines(10), *["again,sad"] * 4]))
    (tmp_path / "b.csv").write_text("\n".join([*lines(5, start=8), "again,glad", "again,sad"]))
    (tmp_path / "c.csv").write_text("\n".join([*lines(4, start=9), "again,sad"]))
    several = mood({"train": "a.csv", "dev": "b.csv", "test": "c.csv"})
    got = load(several, kind="hub", path=str(tmp_path))
    assert got.facts["train"]["repeated"] == 3
    assert (got.facts["dev"]["repeated"], got.facts["dev"]["also_in_train"]) == (1, 4)  # days 8, 9 and both "again"
    test = got.facts["test"]
    assert (test["repeated"], test["also_in_train"], test["also_in_dev"]) == (0, 2, 5)
    shares = re.findall(r"\d of \d+ rows of \w+", find_note(several, got, "epeated"))
    expected = ["3 of 14 rows of train", "1 of 7 rows of dev", "4 of 7 rows of dev"]
    assert shares == [*expected, "2 of 5 rows of test", "5 of 5 rows of test"]
    assert "name only files.train: krona then keeps equal texts in one split" in find_note(several, got, "epeated")


def test_one_class_in_train_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join(row.replace("calm", "sad").replace("glad", "sad") for row in lines(20)))
    assert "only this target" in find_note(mood("a.csv"), read(tmp_path / "a.csv"), "only the target sad (0)")
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(f"x {i},1" for i in range(20)))
    regression = {"labels": None, "metrics": ["pearson"]}
    got = read(tmp_path / "a.csv", task=regression)
    assert got.facts["train"]["targets"] == {"1.0": len(got.train)}
    assert "only this target" in find_note(mood("a.csv", **regression), got, "only the target 1.0")


def test_a_class_without_rows_in_train_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join(row.replace("calm", "sad") for row in lines(20)))
    assert find_note(mood("a.csv"), read(tmp_path / "a.csv"), "calm").startswith("train has no rows of calm (1), which")


def test_other_rows_than_glues_are_noted(tmp_path: Path) -> None:
    write(tmp_path, "rte", train=635, dev=71)
    got = load(task("rte"), kind="tsv", path=str(tmp_path))
    assert official_rows(task("rte"), got.official) == {"train": [635, 2490], "validation": [71, 277]}
    counts = "635 rows of train instead of 2,490, 71 rows of validation instead of 277"
    assert counts in find_note(task("rte"), got, "not comparable")
    assert "3,667 rows of train" in find_note(task("mrpc"), made_up(train=3667, validation=408), "GLUE's form")
    assert not [note for note in notes(task("mrpc"), made_up(train=3668, validation=408)) if "GLUE" in note]


@pytest.mark.slow
@pytest.mark.skipif(not GLUE.is_dir(), reason="the real GLUE files are not at ../shared/glue")
def test_the_real_files_give_the_papers_splits_and_their_duplicates() -> None:
    counted = {}
    for name in ("sst2", "cola", "rte"):
        got = load(task(name), kind="tsv", path=str(GLUE))
        assert not [note for note in notes(task(name), got) if "Repeated" not in note]
        counted[name] = (got.facts["dev"]["also_in_train"], got.facts["test"]["also_in_train"])
        assert got.train.official.skipped_rows == got.test.official.skipped_rows == 0
        assert (len(got.train), len(got.dev), len(got.test)) == SIZES["table1"][name]
    assert counted == {"sst2": (13, 0), "cola": (6, 10), "rte": (0, 0)}
