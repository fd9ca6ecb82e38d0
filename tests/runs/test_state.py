"""The state of a run, from its result and its claim."""

import json
import os
import socket
from pathlib import Path

import pytest

from krona.runs.folder import RunFolder, State
from krona.runs.result import Status, write_result
from report.generate import make_result


def write_run(outputs: Path, status: Status | None, *, owner: int) -> Path:
    result = make_result("krona", "rte")
    folder = outputs / result.run_id
    folder.mkdir()
    if status is not None:
        result.status = status
        write_result(folder, result)
    (folder / "claim.json").write_text(json.dumps({"host": socket.gethostname(), "pid": owner, "token": "x"}))
    return folder


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
def test_a_run_that_is_not_done_is_running_while_a_live_process_owns_it(
    status: Status | None, alive: bool, expected: State, tmp_path: Path
) -> None:
    folder = write_run(tmp_path, status, owner=os.getpid() if alive else 2**22 + 1)
    assert RunFolder(folder).state()[0] == expected
    assert RunFolder(folder).state(owned=alive)[0] == expected
    (folder / "claim.json").unlink()
    assert RunFolder(folder).state()[0] == RunFolder(folder).state(owned=False)[0]


def test_a_claim_in_a_read_only_folder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path, "running", owner=os.getpid())

    def refuse(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "touch", refuse)
    assert RunFolder(folder).state()[0] == "running"


def test_a_damaged_result_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{")
    state, result, error = RunFolder(tmp_path).state()
    assert (state, result) == ("failed", None)
    assert "result.json" in str(error)
