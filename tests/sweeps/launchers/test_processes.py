"""Test that joblib's processes end with the process that started them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from krona.jobs import interrupts

TWO_JOBS = """
import os
import signal
import sys
import time
from functools import partial

from krona.jobs.interrupts import interrupt
from krona.sweeps.launchers.processes import run


def job(pipe):
    signal.signal(signal.SIGTERM, interrupt)  # as a run does
    os.write(os.open(pipe, os.O_WRONLY), b"x")  # open for as long as the process lives
    time.sleep(600)


run([partial(job, sys.argv[1])] * 2, n_jobs=2, started=str, ended=max)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_both_workers_of_a_killed_sweep_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    sweep = subprocess.Popen([sys.executable, "-c", TWO_JOBS, str(tmp_path / "pipe")])
    with (tmp_path / "pipe").open("rb", buffering=0) as pipe:
        assert [pipe.read(1), pipe.read(1)] == [b"x", b"x"]
        sweep.kill()
        assert pipe.read(1) == b""  # the last process that could write has ended
    sweep.wait()


def test_a_worker_ends_if_its_parent_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(interrupts.ctypes, "CDLL", lambda name: type("C", (), {"prctl": lambda *arguments: 0})())
    monkeypatch.setattr(interrupts.sys, "platform", "linux")
    monkeypatch.setattr(interrupts.os, "kill", lambda pid, number: told.append((pid, number)))
    interrupts.end_with_parent(os.getppid())
    assert told == []
    interrupts.end_with_parent(os.getppid() + 1)
    assert told == [(os.getpid(), 15)]
