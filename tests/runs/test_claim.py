import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from krona.messages import KronaError
from krona.runs.claim import LAPSE_S, Claim, ClaimLostError, claim, machine, read_owner
from krona.runs.folder import RunFolder
from runs.made_runs import aged, claimed, dead_pid

HERE = socket.gethostname()
CLAIM = """
import sys
from pathlib import Path
from krona.runs.claim import claim
print("ready", flush=True)
sys.stdin.readline()  # all start together
got = claim(Path(sys.argv[1]))
print("got it" if got else "no", flush=True)
sys.stdin.read()
if got:
    got.check()
    got.release()
"""


@pytest.fixture(autouse=True)
def _watch_briefly_without_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.runs.claim.WATCH_S", 0.1)
    monkeypatch.setattr(os, "link", Mock(side_effect=PermissionError))  # some file systems have no hard links


def claimants(folder: Path, count: int) -> list[subprocess.Popen[str]]:
    """Start processes that claim the folder when all of them are ready."""
    command = [sys.executable, "-c", CLAIM, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started: Any = [subprocess.Popen(command, text=True, **pipes) for _ in range(count)]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    return started


def owned(folder: Path) -> Claim:
    mine = claim(folder)
    assert mine is not None
    return mine


def test_one_owner_and_after_it_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = RunFolder(folder)
    first = owned(folder)
    assert claim(folder) is None
    assert run.is_owned()
    assert {"pid": os.getpid(), "host": HERE}.items() <= read_owner(run.claim_file).items()
    first.check()
    first.release()
    assert not run.is_owned()
    owned(folder).release()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("dead", [False, True])
def test_of_eight_started_together_exactly_one_has_the_claim(dead: bool, tmp_path: Path) -> None:
    for _ in range(1 + dead):
        if dead:
            claimed(tmp_path, dead_pid())
        processes = claimants(tmp_path, 8)
        answers = [process.stdout.readline().strip() for process in processes if process.stdout]
        assert sorted(answers) == ["got it"] + ["no"] * 7
        for process in processes:
            _, errors = process.communicate()
            assert (process.returncode, errors) == (0, "")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "pid", "age", "lapses"),
    [
        ("another", 1, LAPSE_S - 10, False),
        ("another", 1, LAPSE_S + 10, True),
        ("another", 1, -3600, True),  # the other machine's clock is ahead
        (HERE, os.getppid(), LAPSE_S + 10, True),  # another process with the same id
    ],
)
def test_a_claim_lapses_without_a_heartbeat(host: str, pid: int, age: float, lapses: bool, tmp_path: Path) -> None:
    aged(claimed(tmp_path, pid, host), age)
    assert RunFolder(tmp_path).is_owned() != lapses
    got = claim(tmp_path)
    assert (got is not None) == lapses
    if got is not None:
        got.release()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_living_owner_keeps_its_claim_with_any_clock(
    hours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system stores the times of the machines that write the heartbeats. Their clocks differ by one hour."""
    path = aged(claimed(tmp_path, 1, "another"), hours * 3600)
    sleeps: list[float] = []

    def beat(seconds: float) -> None:
        sleeps.append(seconds)
        os.utime(path, (time.time() - hours * 3600 + 1,) * 2)

    monkeypatch.setattr("krona.runs.claim.time.sleep", beat)
    before = path.read_text()
    assert claim(tmp_path) is None
    assert len(sleeps) == 1  # one heartbeat is enough
    assert path.read_text() == before


def test_a_requeued_slurm_job_follows_itself_from_another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed(tmp_path, 1, "another", slurm=["77", 0])
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert claim(tmp_path) is None  # another job owns the run
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    mine = owned(tmp_path)
    assert read_owner(mine.path)["slurm"] == ["77", 1]
    mine.release()
    claimed(tmp_path, 1, "another", slurm=["77", 1])
    assert claim(tmp_path) is None  # another process of this job owns the run


def test_a_container_with_the_same_host_name_keeps_its_run(tmp_path: Path) -> None:
    claimed(tmp_path, dead_pid(), machine="another-boot pid:[1]")  # a process id of another machine
    assert claim(tmp_path) is None
    claimed(tmp_path, dead_pid(), machine=machine())
    owned(tmp_path).release()


def full(*arguments: object) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_claim_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("krona.runs.claim.claim_text", full)
        with pytest.raises(KronaError, match="cannot be written to: No s"):
            claim(tmp_path)
    assert list(tmp_path.iterdir()) == []
    owned(tmp_path).release()


def test_the_outputs_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "outputs" / "run").mkdir(parents=True)
    outputs = tmp_path / "outputs"
    outputs.symlink_to(tmp_path / "disk" / "outputs")
    claimed(outputs / "run", dead_pid())
    mine = owned(outputs / "run")
    mine.write(outputs / "run" / "last.ckpt", Path.touch)
    mine.remove(outputs / "run" / "last.ckpt")
    mine.release()
    assert list((outputs / "run").iterdir()) == []


def test_a_folder_that_disappears_is_named_and_not_made_again(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    mine = owned(shared / "run")
    shutil.rmtree(shared)
    with pytest.raises(ClaimLostError, match=r"run or its claim file does not exist any more"):
        mine.check()
    mine.release()
    assert not shared.exists()


def test_the_heartbeat_touches_the_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.runs.claim.BEAT_S", 0.02)
    mine = owned(tmp_path)
    os.utime(mine.path, (0, 0))
    deadline = time.monotonic() + 60
    while mine.path.stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert mine.path.stat().st_mtime > 0
    mine.release()


def test_a_lost_claim_is_noticed_before_a_write_and_not_removed(tmp_path: Path) -> None:
    mine = owned(tmp_path)
    theirs = claimed(tmp_path, 77, "another-machine")
    with pytest.raises(ClaimLostError, match="taken over by process 77 on another-machine"):
        mine.check()
    mine.release()
    assert json.loads(theirs.read_text())["pid"] == 77
    theirs.unlink()
    with pytest.raises(ClaimLostError):
        mine.check()


def test_an_owner_that_was_suspended_changes_no_file_of_the_next_owner(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    mine = owned(tmp_path)
    theirs: list[Claim] = []

    def fill_while_suspended(part: Path) -> None:
        part.write_text("mine")
        aged(mine.path, LAPSE_S + 10)
        theirs.append(owned(tmp_path))
        theirs[0].write(file, lambda part: part.write_text("theirs"))

    with pytest.raises(ClaimLostError, match=f"The run .* was taken over by process {os.getpid()} on "):
        mine.write(file, fill_while_suspended)
    for change in (lambda: mine.write(file, Path.touch), lambda: mine.remove(file), lambda: mine.set_aside(file)):
        with pytest.raises(ClaimLostError):
            change()
    mine.release()
    theirs[0].check()
    assert file.read_text() == "theirs"
    theirs[0].release()
    assert list(tmp_path.iterdir()) == [file]


def test_files_of_a_killed_owner_are_removed(tmp_path: Path) -> None:
    for name in (".now.1", ".adapter.safetensors.tmp", ".takeover.1", "result.json"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - LAPSE_S - 10,) * 2)
    (tmp_path / ".now.recent").touch()  # another process is reading the claim
    mine = owned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"claim.json", ".now.recent", "result.json"}
    mine.release()


def test_a_process_that_died_while_taking_over_does_not_block(tmp_path: Path) -> None:
    token = json.loads(claimed(tmp_path, dead_pid()).read_text())["token"]
    marker = {"host": HERE, "pid": dead_pid(), "token": "x"}
    (tmp_path / f".takeover.{token}").write_text(json.dumps(marker))
    owned(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", '{"token": "../../x", "pid": 1}', '{"token": "t", "slurm": 5, "pid": []}'),
    ],
)
def test_a_damaged_claim_holds_until_it_lapses(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "claim.json").write_text(content)
    assert claim(tmp_path / "run") is None
    os.utime(tmp_path / "run" / "claim.json", (1, 1))
    owned(tmp_path / "run").release()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
