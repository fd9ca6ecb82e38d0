"""The sample tasks as the package has them: read, and written in the layout of GLUE's download."""

from pathlib import Path

import pytest

from krona.messages import KronaError
from krona.tasks.sample import FOLDERS, sample_files, write
from tasks.glue_files import task
from tasks.own_task import load


def test_written_files_are_read_as_glues_own(tmp_path: Path) -> None:
    written = [str(path.relative_to(tmp_path)) for path in write(tmp_path)]
    assert len(written) == len(set(written)) == 26
    assert sorted(name for name in written if name.startswith(("CoLA", "MNLI"))) == [
        "CoLA/dev.tsv", "CoLA/test.tsv", "CoLA/train.tsv",
        "MNLI/dev_matched.tsv", "MNLI/dev_mismatched.tsv", "MNLI/test_matched.tsv", "MNLI/test_mismatched.tsv",
        "MNLI/train.tsv",
    ]  # fmt: skip
    for name in FOLDERS:
        shipped = load(task(f"sample_{name}"), kind="sample", quoting="csv")
        assert [len(split) for split in (shipped.train, shipped.dev, shipped.test)] == [2000, 200, 400]
        assert shipped.dev.ids[:2] == ["dev-0", "dev-1"]
        official = load(
            task(name, split="halve_validation" if name != "mnli" else "mnli"), kind="tsv", path=str(tmp_path)
        )
        assert official.train.sources == shipped.train.sources
        assert official.train.targets == shipped.train.targets
    assert official.dev.sources != shipped.dev.sources


def test_mnlis_unlabelled_files_lack_the_labels_alone(tmp_path: Path) -> None:
    write(tmp_path)
    for part in ("matched", "mismatched"):
        labelled, unlabelled = (
            (tmp_path / "MNLI" / f"{name}_{part}.tsv").read_text().splitlines() for name in ("dev", "test")
        )
        assert [line.split("\t")[:-2] for line in labelled] == [line.split("\t") for line in unlabelled]


def test_an_unknown_sample_task_is_refused() -> None:
    with pytest.raises(KronaError, match=r"'wnli'.*cola, rte"):
        sample_files("wnli")
