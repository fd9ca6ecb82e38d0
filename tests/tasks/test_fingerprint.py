"""The data's part of a run's identity: of the content, total, and quick."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from krona.tasks import data_fingerprint
from krona.tasks.sources import own_files
from tasks.glue_files import task, write


def test_it_is_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    inner, other = write(tmp_path / "a", "rte"), write(tmp_path / "b", "rte")
    one = data_fingerprint(task("rte"), kind="tsv", path=str(tmp_path / "a"))
    assert one == data_fingerprint(task("rte"), kind="tsv", path=str(inner))
    assert one == data_fingerprint(task("rte"), kind="tsv", path=str(tmp_path / "b"))
    file = other / "dev.tsv"
    file.write_text(file.read_text().replace("cat", "dog", 1))
    assert one != data_fingerprint(task("rte"), kind="tsv", path=str(tmp_path / "b"))


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path, "rte") / "train.tsv"
    before = data_fingerprint(task("rte"), kind="tsv", path=str(tmp_path))
    file.write_text(file.read_text().replace("cat", "dog", 1))
    os.utime(file, ns=(1, 1))
    assert data_fingerprint(task("rte"), kind="tsv", path=str(tmp_path)) != before


def test_own_files_and_the_hub(tmp_path: Path) -> None:
    own = task("rte", files={"train": "a.csv"})
    assert own_files(own, str(tmp_path)) == {"train": tmp_path / "a.csv"}
    assert data_fingerprint(own, kind="hub", path=str(tmp_path)) == "hub:absent"
    (tmp_path / "a.csv").write_text("x")
    assert data_fingerprint(own, kind="hub", path=str(tmp_path)).startswith("own:")
    hub = {"kind": "hub", "name": "nyu-mll/glue"}
    assert data_fingerprint(task("rte"), **hub) == "hub:nyu-mll/glue/rte@main"
    assert data_fingerprint(task("rte"), **hub, revision="abc") == "hub:nyu-mll/glue/rte@abc"
    assert data_fingerprint(task("sample_rte"), kind="sample").startswith("sample:")


@pytest.mark.parametrize("path", [None, "/nowhere", "\0", __file__])
def test_it_never_raises(path: str | None) -> None:
    assert data_fingerprint(task("rte"), kind="tsv", path=path) == "tsv:absent"
    assert isinstance(data_fingerprint(task("rte"), kind="what", path=path), str)


def test_it_needs_neither_torch_nor_datasets(tmp_path: Path) -> None:
    write(tmp_path, "rte")
    code = f"""
import sys
from krona.tasks import Task, data_fingerprint
values = dict(name="rte", columns=["sentence1"], labels=["a", "b"], metrics=["f1"], tsv=dict(folder="RTE"))
task = Task.from_config(values)
print(data_fingerprint(task, kind="tsv", path={str(tmp_path)!r})[:4])
print([m for m in ("torch", "datasets", "sklearn", "scipy", "pandas") if m in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.split("\n")[:2] == ["tsv:", "[]"]
