"""Test `krona check-data`, which counts the rows that a run would read, without a model."""

import re
from pathlib import Path

import pytest

from krona import KronaError
from tasks.glue_files import write
from typed_run import invoke, krona


def own(file: Path) -> list[str]:
    """Return overrides that change cola into a user's own task, with the columns text and label."""
    texts = ["task.columns=[text]", "task.template='text: {text}'", "task.split=given"]
    return ["task.name=mood", *texts, f"task.files={{train: {file}}}"]


def rows(count: int, *, sep: str = ",") -> list[str]:
    return ["text" + sep + "label", *(f"day {i}{sep}{i % 2}" for i in range(count))]


def checked(*arguments: str) -> str:
    return krona("check-data", *arguments)


def row(printed: str, name: str) -> list[str]:
    """Return the cells of the first line that begins with ``name``."""
    return next(line for line in printed.splitlines() if line.startswith(name))[len(name) :].split()


def test_glues_files_are_counted_as_a_run_reads_them(tmp_path: Path) -> None:
    write(tmp_path, "rte", train=20, dev=9)
    said = checked("rte", "data=tsv", f"data.path={tmp_path}")
    inner = tmp_path / "RTE"
    assert row(said, "train") == ["20", "2,490", "0", "0", "0", str(inner / "train.tsv")]
    assert row(said, "validation") == ["9", "277", "0", "0", "0", str(inner / "dev.tsv")]
    assert row(said, "dev") == ["4", "0", "0", "0", "validation"]
    assert row(said, "test") == ["5", "0", "0", "0", "0", "validation"]
    assert row(said, "entailment (0)")[0] == row(said, "not_entailment (1)")[0] == "10"
    assert "20 rows of train instead of 2,490" in said
    assert said.splitlines()[-1].endswith(f"krona train task=rte data=tsv data.path={tmp_path}")


def test_oddities_duplicates_and_a_regression(tmp_path: Path) -> None:
    more = ['"say ""no"""\t1', "again\t1", "again\t1"]
    (tmp_path / "a.tsv").write_text("\n".join([*rows(16, sep="\t"), *more]))
    said = checked("cola", *own(tmp_path / "a.tsv"))
    assert row(said, "train") == ["19", "0", "0", "1", str(tmp_path / "a.tsv")]
    assert said.startswith("mood, own data\n")
    assert "Repeated source texts" in said
    said = checked("cola", *own(tmp_path / "a.tsv"), "data.quoting=csv")
    assert row(said, "train")[3] == "0"
    write(tmp_path, "stsb", train=30)
    said = checked("task=stsb", "data=tsv", f"data.path={tmp_path}")
    assert (row(said, "lowest")[0], row(said, "highest")[0], row(said, "different values")[0]) == ("0.0", "5.0", "30")


def test_bad_rows_are_counted_before_the_runs_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join([*rows(20), "x,2", "y,2", " ,1"]))
    done = invoke("check-data", "cola", *own(tmp_path / "a.csv"))
    assert re.search(r"a\.csv:22: label '2' is not one of .*data\.skip_bad_rows=true", str(done.exception))
    assert row(done.stdout, "train")[1] == "3"
    assert "2 unknown label" in done.stdout
    assert "usable" not in done.stdout
    said = checked("cola", *own(tmp_path / "a.csv"), "data.skip_bad_rows=true")
    assert "usable: " in said
    assert "skipped 3 of 23 rows of train: 2 unknown label" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cola", *own(Path("/nowhere/a.csv"))], "files.train: /nowhere/a.csv was not found"),
        (["rte,cola", "data=sample"], "rte,cola contains several tasks"),
    ],
)
def test_what_stops_a_run_stops_the_command(arguments: list[str], message: str) -> None:
    with pytest.raises(KronaError) as caught:
        checked(*arguments)
    assert message in str(caught.value)
