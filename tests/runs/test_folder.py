"""Test the state of a run, and the checks of files that commands write."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from krona.messages import KronaError
from krona.runs.folder import RunFolder, State, require_new, require_out
from krona.runs.result import Status, write_result
from krona.runs.studies import study_path
from krona.runs.sweep import load_command, load_run_ids, save_command, save_run_ids
from krona.safe_files import write_whole
from report.generate import make_result
from runs.made_runs import claimed


def write_run(outputs: Path, status: Status | None, *, owner: int) -> RunFolder:
    result = make_result("krona", "rte")
    run = RunFolder(outputs / result.run_id)
    run.path.mkdir()
    if status is not None:
        result.status = status
        write_result(run.path, result)
    claimed(run.path, owner)
    return run


@pytest.mark.parametrize(
    ("status", "alive", "expected"),
    [
        (None, True, "running"),
        (None, False, "waiting"),
        ("done", True, "done"),
        ("done", False, "done"),
        ("running", True, "running"),
        ("running", False, "interrupted"),
        ("interrupted", True, "running"),
        ("interrupted", False, "interrupted"),
        ("failed", True, "running"),
        ("failed", False, "failed"),
    ],
)
def test_an_unfinished_run_is_running_while_a_live_process_owns_it(
    status: Status | None, alive: bool, expected: State, tmp_path: Path
) -> None:
    run = write_run(tmp_path, status, owner=os.getpid() if alive else 2**22 + 1)
    assert run.state().state == expected
    ignored = run.state(ignore_claim=True).state
    run.claim_file.unlink()
    assert run.state().state == ignored


@pytest.mark.parametrize("name", ["../RUN/result", "", "-m", "a\nb", "x" * 101])
def test_a_path_is_not_a_name(name: str, tmp_path: Path) -> None:
    calls: list[Any] = [
        lambda: save_command(tmp_path, name, []),
        lambda: save_run_ids(tmp_path, name, []),
        lambda: load_run_ids(tmp_path, name),
        lambda: load_command(tmp_path, name),
        lambda: study_path(tmp_path, name),
    ]
    for call in calls:
        with pytest.raises(KronaError, match="is not a valid name"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_through_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target" / "report.html", tmp_path / "link.html"
    target.parent.mkdir()
    link.symlink_to(target)
    for _ in range(2):  # a link to a missing file, and to a file
        write_whole(link, lambda part: part.write_text("new"))
        assert (link.is_symlink(), target.read_text()) == (True, "new")


@pytest.mark.parametrize("kind", ["device", "folder"])
def test_anything_but_a_regular_file_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
    else:
        out.symlink_to("/dev/null")
    before = os.lstat(out)
    for write in (lambda: require_out(out), lambda: write_whole(out, lambda part: part.write_text("x"))):
        with pytest.raises(KronaError, match=r"not a regular file|is a folder|cannot be written|could not be written"):
            write()
    after = os.lstat(out)
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


def test_an_output_file_is_not_a_file_of_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "result.json").write_text(json.dumps({"run_id": "run"}))
    for check in (
        lambda: require_out(run / "result.json"),
        lambda: require_new(run / "predictions.jsonl", overwrite=True),
    ):
        with pytest.raises(KronaError, match="is a file of a run"):
            check()
    require_out(run / "report.html")
    require_out(tmp_path / "predictions.jsonl")
