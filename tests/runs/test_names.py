"""Names of sweeps, studies and runs, and files of the user's choice: nothing is written over or beside its place."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from krona.config.check import settings
from krona.files import write_whole
from krona.messages import KronaError
from krona.runs.folder import require_new, require_out
from krona.runs.study_journal import study_path
from krona.runs.sweep import load_command, load_run_ids, save_command, save_run_ids
from one_job import config

PATHS = ["../RUN/result", "/tmp/x", "..", "a\\b", "", ".hidden", "-m", "a\x1b]0;x\x07", "a\nb", "x" * 101]


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_no_name(name: str, tmp_path: Path) -> None:
    calls: list[Any] = [
        lambda: save_command(tmp_path / "sweeps", name, []),
        lambda: save_run_ids(tmp_path, name, []),
        lambda: load_run_ids(tmp_path, name),
        lambda: load_command(tmp_path / "sweeps", name),
        lambda: study_path(tmp_path, name),
    ]
    for call in calls:
        with pytest.raises(KronaError, match=r"it is a name, not a path|may not be in it|1 to 100 characters"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_a_run_does_not_begin_with_a_path_for_its_sweep() -> None:
    values = config("profile=demo", "method=lora", "task=sample_rte")
    assert settings({**values, "sweep": "my sweep-1.2_x=é"}).sweep == "my sweep-1.2_x=é"
    with pytest.raises(KronaError, match=r"sweep='../RUN/result': it is a name, not a path"):
        settings({**values, "sweep": "../RUN/result"})


@pytest.mark.parametrize("content", [b"../x\n", b"\xff\n", b"a\x1b\n"])
def test_a_damaged_list_of_runs_is_named(content: bytes, tmp_path: Path) -> None:
    save_run_ids(tmp_path, "mine", ["a", "b"])
    file = tmp_path / "sweeps" / "mine.runs.txt"
    file.write_bytes(content)
    with pytest.raises(KronaError, match=r"mine\.runs\.txt does not contain the ids of a sweep's runs"):
        load_run_ids(tmp_path, "mine")


def test_a_file_is_written_through_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "report.html", tmp_path / "link.html"
    target.parent.mkdir()
    for before in ("old", None):
        target.write_text(before) if before else target.unlink()
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        write_whole(link, lambda part: part.write_text("new"))
        assert (link.is_symlink(), target.read_text()) == (True, "new")


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "folder", "loop"])
def test_what_is_no_plain_file_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if kind == "pipe":
        os.mkfifo(out)
    elif kind == "folder":
        out.mkdir()
    else:
        out.symlink_to({"device": "/dev/null", "link to a device": "/dev/zero", "loop": out}[kind])
    before = os.lstat(out)
    for write in (lambda: require_out(out), lambda: write_whole(out, lambda part: part.write_text("x"))):
        with pytest.raises(KronaError, match=r"not a regular file|is a folder|can't be written|could not be written"):
            write()
    after = os.lstat(out)
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


@pytest.mark.parametrize("name", ["result.json", "predictions.jsonl", "adapter.safetensors"])
def test_an_out_is_no_file_of_a_run(name: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "result.json").write_text(json.dumps({"run_id": "run"}))
    for check in (lambda: require_out(run / name), lambda: require_new(run / name, overwrite=True)):
        with pytest.raises(KronaError, match=f"{name} is a run's own file"):
            check()
    require_out(run / "report.html")
    require_out(tmp_path / "predictions.jsonl")


def test_a_name_that_is_too_long_is_one_message(tmp_path: Path) -> None:
    for call in (require_out, lambda path: require_new(path, overwrite=True)):
        with pytest.raises(KronaError, match="File name too long"):
            call(tmp_path / ("x" * 300))
