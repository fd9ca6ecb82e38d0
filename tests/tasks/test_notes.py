"""What a run says about its rows, and the counts behind it."""

from pathlib import Path
from typing import Any

import pytest

from krona.tasks import Splits, Task, notes, official_rows
from tasks.glue_files import task, write
from tasks.own_task import lines, load, made_up, mood, read

GLUE = Path(__file__).parents[3] / "shared" / "glue"


def test_clean_rows_have_no_notes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join(lines(30)))
    assert notes(mood("a.csv"), read(tmp_path / "a.csv")) == []
    assert notes(task("sample_rte"), load(task("sample_rte"), kind="sample")) == []


def said(task: Task, splits: Splits, part: str, **data: Any) -> str:
    """The one note with ``part`` in it."""
    (note,) = [note for note in notes(task, splits, **data) if part in note]
    return note


def test_rows_left_out_are_counted_by_kind_with_the_first_of_each(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_text("\n".join([*lines(20, sep="\t"), "x\tsat", "x\ty\tsad", "one", "x\t" + "s" * 500]) + "\n")
    got = read(file, skip_bad_rows=True)
    unknown, fields = got.facts["train"]["skipped"]
    assert (unknown["kind"], unknown["rows"]) == ("unknown label", 2)
    assert unknown["first"].startswith(f"{file}:22: label 'sat' is not one of sad (0), calm (1)")
    assert fields == {
        "kind": "wrong number of fields",
        "rows": 2,
        "first": f"{file}:23: 3 fields, but the file has 2 columns",
    }
    assert got.facts["dev"]["skipped_rows"] == 4
    note = said(mood("a.tsv"), got, "left out")
    assert note == (
        "left out (data.skip_bad_rows=true): 4 of 24 rows of train: 2 unknown label, first "
        f"{unknown['first']}; 2 wrong number of fields, first {fields['first']}"
    )


def test_a_part_that_is_halved_is_noted_once(tmp_path: Path) -> None:
    write(tmp_path, "rte", dev=9)
    dev = tmp_path / "RTE" / "dev.tsv"
    dev.write_text(dev.read_text() + "99\tone\n")
    got = load(task("rte"), kind="tsv", path=str(tmp_path), skip_bad_rows=True)
    assert [got.facts[name]["skipped_rows"] for name in ("train", "dev", "test")] == [0, 1, 1]
    assert said(task("rte"), got, "left out").startswith(
        f"left out (data.skip_bad_rows=true): 1 of 10 rows of validation: 1 wrong number of fields, first {dev}:11: "
    )


def test_empty_texts_are_counted_where_they_went(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    rows = lines(40)
    for place in (3, 17, 30):
        rows[place] = f"{' ' * (place % 2)},sad"
    file.write_text("\n".join(rows))
    got = read(file)
    empty = {name: sum(not source[6:].strip() for source in getattr(got, name).sources) for name in got.facts}
    assert {name: facts["empty_texts"] for name, facts in got.facts.items()} == empty
    assert sum(empty.values()) == 3
    assert said(mood("a.csv"), got, "empty") == f"empty texts in 3 of 40 rows of train (first {file}:4)"


def test_what_may_be_misread_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_text("\n".join([*lines(20, sep="\t"), '"say ""no"""\tsad']))
    assert said(mood("a.tsv"), read(file), "quot") == (
        f'fields quoted as by a spreadsheet ("" inside quotes) in 1 of 21 rows of train (first {file}:22): '
        "their quotes are read as text; data.quoting=csv reads the fields as in a CSV"
    )
    file = tmp_path / "a.csv"
    file.write_text("\n".join([*lines(20), '"one,sad', "two,sad", 'three",sad']))
    assert said(mood("a.csv"), read(file), "line end") == (
        f"fields with a line end inside in 1 of 21 rows of train (first {file}:22): correct them if a quote was left "
        "open"
    )


def test_the_same_row_five_times(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join([*lines(10), *["again,sad"] * 5]))
    (tmp_path / "b.csv").write_text("\n".join([*lines(5, start=8), "again,glad", "again,sad"]))
    (tmp_path / "c.csv").write_text("\n".join([*lines(4, start=9), "again,sad"]))
    several = mood({"train": "a.csv", "dev": "b.csv", "test": "c.csv"})
    got = load(several, kind="hub", path=str(tmp_path))
    assert got.facts["train"]["repeated"] == 4
    assert (got.facts["dev"]["repeated"], got.facts["dev"]["also_in_train"]) == (1, 4)  # days 8, 9 and both "again"
    test = got.facts["test"]
    assert (test["repeated"], test["also_in_train"], test["also_in_dev"]) == (0, 2, 5)
    assert said(several, got, "again") == (
        "the same source text again: 4 of 15 rows of train repeat an earlier one, 1 of 7 rows of dev repeat an earlier "
        "one, 4 of 7 rows of dev stand in train too, 2 of 5 rows of test stand in train too, 5 of 5 rows of test stand "
        "in dev too"
    )


def test_one_class_in_train_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join(row.replace("calm", "sad").replace("glad", "sad") for row in lines(20)))
    assert said(mood("a.csv"), read(tmp_path / "a.csv"), "class") == (
        "train has one class only, sad (0): a model learns nothing but to answer it"
    )
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(f"x {i},1" for i in range(20)))
    regression = {"labels": None, "metrics": ["pearson"]}
    got = read(tmp_path / "a.csv", task=regression)
    assert got.facts["train"]["targets"] == {"1.0": 16}
    assert notes(mood("a.csv", **regression), got) == []


def test_a_part_that_cannot_be_balanced_is_noted(tmp_path: Path) -> None:
    rare = [f"few {i},glad" for i in range(5)]
    (tmp_path / "a.csv").write_text(
        "\n".join(["text,label", *(f"x {i},{('sad', 'calm')[i % 2]}" for i in range(60)), *rare])
    )
    (tmp_path / "b.csv").write_text("\n".join(lines(9)))
    several = mood({"train": "a.csv", "dev": "b.csv"})

    def part(rows: int) -> list[str]:
        return notes(several, load(several, kind="hub", path=str(tmp_path), train_rows=rows), train_rows=rows)

    assert part(15) == part(16) == []
    (note,) = part(30)
    start = "data.train_rows=30 is not balanced, train has too few rows of a label: "
    assert note in (f"{start}{counts}, 5 glad (2)" for counts in ("13 sad (0), 12 calm (1)", "12 sad (0), 13 calm (1)"))


def test_other_rows_than_glues_are_noted(tmp_path: Path) -> None:
    write(tmp_path, "rte", train=635, dev=71)
    got = load(task("rte"), kind="tsv", path=str(tmp_path))
    assert official_rows(task("rte"), got.parts) == {"train": [635, 2490], "validation": [71, 277]}
    assert said(task("rte"), got, "GLUE") == (
        "GLUE's form, but not GLUE's rows: 635 rows of train for 2,490, 71 rows of validation for 277: "
        "the scores are not comparable with scores on GLUE"
    )
    assert said(task("mrpc"), made_up(train=3667, validation=408), "GLUE").startswith(
        "GLUE's form, but not GLUE's rows: 3,667 rows of train for 3,668: "
    )
    assert not [note for note in notes(task("mrpc"), made_up(train=3668, validation=408)) if "GLUE" in note]
    write(tmp_path, "mnli", dev=600)
    got = load(task("mnli"), kind="tsv", path=str(tmp_path))
    assert official_rows(task("mnli"), got.parts)["validation_matched"] == [600, 9815]


@pytest.mark.skipif(not GLUE.is_dir(), reason="the real GLUE files are not at ../shared/glue")
def test_duplicates_of_the_real_files() -> None:
    counted = {}
    for name in ("sst2", "cola", "rte"):
        got = load(task(name), kind="tsv", path=str(GLUE))
        assert not [note for note in notes(task(name), got) if "again" not in note]
        counted[name] = (got.facts["dev"]["also_in_train"], got.facts["test"]["also_in_train"])
    assert counted == {"sst2": (13, 0), "cola": (6, 10), "rte": (0, 0)}
