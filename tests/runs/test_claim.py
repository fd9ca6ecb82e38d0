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

import pytest

from krona.messages import KronaError
from krona.runs.claim import Claim, ClaimLostError, claim, owner
from krona.runs.holder import LAPSE_S, machine

CLAIM = """
import sys
from pathlib import Path
from krona.runs.claim import claim
print("ready", flush=True)
sys.stdin.readline()  # all at once
got = claim(Path(sys.argv[1]))
print("got it" if got else "no", flush=True)
sys.stdin.read()
if got:
    got.check()
    got.release()
"""


def claimants(folder: Path, count: int) -> list[subprocess.Popen[str]]:
    """Processes that claim the folder when all of them are ready."""
    command = [sys.executable, "-c", CLAIM, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started: Any = [subprocess.Popen(command, text=True, **pipes) for _ in range(count)]  # type: ignore[call-overload]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    return started


def answers(processes: list[subprocess.Popen[str]]) -> list[str]:
    said = [process.stdout.readline().strip() for process in processes if process.stdout]
    for process in processes:
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
    return said


def owned(folder: Path) -> Claim:
    mine = claim(folder)
    assert mine is not None
    return mine


def write_claim(folder: Path, *, host: str, pid: int, age: float = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "claim.json"
    path.write_text(json.dumps({"host": host, "pid": pid, "token": "theirs"}))
    os.utime(path, (time.time() - age,) * 2)
    return path


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_one_owner_and_after_it_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = owned(folder)
    assert claim(folder) is None
    holder = owner(folder)
    assert holder is not None
    assert (holder["pid"], holder["host"]) == (os.getpid(), socket.gethostname())
    first.check()
    first.release()
    assert owner(folder) is None
    owned(folder).release()
    assert list(folder.iterdir()) == []


def test_two_processes(tmp_path: Path) -> None:
    (other,) = claimants(tmp_path, 1)
    assert other.stdout is not None
    assert other.stdout.readline() == "got it\n"
    assert claim(tmp_path) is None
    other.communicate()
    owned(tmp_path).release()


def test_of_eight_started_together_exactly_one_has_it(tmp_path: Path) -> None:
    assert sorted(answers(claimants(tmp_path, 8))) == ["got it"] + ["no"] * 7
    assert list(tmp_path.iterdir()) == []


def test_of_eight_that_find_a_dead_owner_exactly_one_has_it(tmp_path: Path) -> None:
    for round_ in range(2):
        write_claim(tmp_path / str(round_), host=socket.gethostname(), pid=dead_pid())
        assert sorted(answers(claimants(tmp_path / str(round_), 8))) == ["got it"] + ["no"] * 7
        assert list((tmp_path / str(round_)).iterdir()) == []


def test_a_killed_owner_is_followed_at_once(tmp_path: Path) -> None:
    (other,) = claimants(tmp_path, 1)
    assert other.stdout is not None
    assert other.stdout.readline() == "got it\n"
    other.kill()
    other.communicate()
    assert (tmp_path / "claim.json").exists()
    assert owner(tmp_path) is None
    owned(tmp_path).release()


def test_an_owner_elsewhere_lapses_with_its_heart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.runs.holder.WATCH_S", 0.1)
    write_claim(tmp_path, host="another-machine", pid=1, age=LAPSE_S - 10)
    assert claim(tmp_path) is None
    write_claim(tmp_path, host="another-machine", pid=1, age=LAPSE_S + 10)
    assert owner(tmp_path) is None
    owned(tmp_path).release()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_dead_owner_lapses_whatever_its_clock_said(
    hours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krona.runs.holder.WATCH_S", 0.1)
    write_claim(tmp_path, host="another-machine", pid=1, age=hours * 3600)
    owned(tmp_path).release()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_living_owner_keeps_its_claim_whatever_its_clock_says(
    hours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that takes the beats' times from the machines, whose clocks differ by an hour."""
    path = write_claim(tmp_path, host="another-machine", pid=1, age=hours * 3600)
    looks: list[float] = []

    def beat(seconds: float) -> None:  # while the other looks away
        looks.append(seconds)
        os.utime(path, (time.time() - hours * 3600 + 1,) * 2)

    monkeypatch.setattr("krona.runs.holder.time.sleep", beat)
    assert claim(tmp_path) is None
    assert len(looks) == 1  # the first beat that is seen settles it
    assert json.loads(path.read_text())["token"] == "theirs"


def test_a_requeued_slurm_job_follows_itself_at_once_from_another_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_claim(tmp_path, host="another-machine", pid=1)
    claimed = json.loads(path.read_text())
    path.write_text(json.dumps({**claimed, "slurm": ["77", 0]}))
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert claim(tmp_path) is None  # another job's
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    mine = owned(tmp_path)
    assert (owner(tmp_path) or {})["slurm"] == ["77", 1]
    path.write_text(json.dumps({**claimed, "slurm": ["77", 1]}))
    assert claim(tmp_path) is None  # another process of this very job
    path.unlink()
    mine.release()


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*arguments: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(Path, "hardlink_to", no_link)
    mine = owned(tmp_path)
    assert claim(tmp_path) is None
    mine.check()
    mine.release()
    write_claim(tmp_path, host=socket.gethostname(), pid=dead_pid())
    owned(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("krona.runs.claim.claim_text", full)
        with pytest.raises(KronaError, match="No space left"):
            claim(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_vanishes_is_told_and_not_made_again(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    mine = owned(shared / "run")
    shutil.rmtree(shared)
    with pytest.raises(ClaimLostError, match=r"run is gone \(a shared folder"):
        mine.check()
    mine.release()
    assert not shared.exists()


def test_a_living_process_of_the_same_number_is_not_the_owner_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krona.runs.holder.WATCH_S", 0.1)
    write_claim(tmp_path, host=socket.gethostname(), pid=os.getppid(), age=LAPSE_S + 10)
    owned(tmp_path).release()


def test_the_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.runs.claim.BEAT_S", 0.02)
    mine = owned(tmp_path)
    os.utime(mine.path, (0, 0))
    while mine.path.stat().st_mtime == 0:
        time.sleep(0.01)
    mine.release()


def test_a_lost_claim_is_noticed_before_a_write_and_left_alone(tmp_path: Path) -> None:
    mine = owned(tmp_path)
    theirs = write_claim(tmp_path, host="another-machine", pid=77)
    with pytest.raises(ClaimLostError, match="taken over by process 77 on another-machine"):
        mine.check()
    mine.release()
    assert json.loads(theirs.read_text())["token"] == "theirs"
    theirs.unlink()
    with pytest.raises(ClaimLostError):
        mine.check()


def test_a_taker_over_that_died_does_not_block(tmp_path: Path) -> None:
    write_claim(tmp_path, host=socket.gethostname(), pid=dead_pid())
    marker = tmp_path / ".takeover.theirs"
    marker.write_text(json.dumps({"host": socket.gethostname(), "pid": dead_pid(), "token": "x"}))
    owned(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KronaError, match="can't be written to"):
        claim(tmp_path / "file" / "run")


def test_a_container_of_the_same_host_name_keeps_its_run(tmp_path: Path) -> None:
    path = write_claim(tmp_path, host=socket.gethostname(), pid=dead_pid())
    claimed = json.loads(path.read_text())
    path.write_text(json.dumps({**claimed, "machine": "another-boot pid:[1]"}))  # its pid means nothing here
    assert claim(tmp_path) is None
    path.write_text(json.dumps({**claimed, "machine": machine()}))
    owned(tmp_path).release()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"pid": "x"}',
        '{"token": "../../x", "pid": 1}',
        '{"token": 7, "pid": 1e400}',
        '{"token": "t", "slurm": 5, "pid": []}',
        "[" * 10**5,
    ],
)
def test_a_damaged_claim_holds_until_it_lapses(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.runs.holder.WATCH_S", 0.1)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "claim.json").write_text(content)
    assert claim(tmp_path / "run") is None
    os.utime(tmp_path / "run" / "claim.json", (1, 1))
    owned(tmp_path / "run").release()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
