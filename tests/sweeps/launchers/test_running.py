"""Test running launchers: killed jobs, time limits, signals, and processes that end with their parent."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import submitit

from krona.config.compose import hydra_session
from krona.config.multirun import expand
from krona.runs.interrupts import Interrupted, interrupt
from krona.sweeps.launchers.launch import run_pool
from krona.sweeps.launchers.sweep_job import Requeued, SweepJob
from krona.training.jobs import child_processes
from one_job import same_files
from typed_run import start, train, wait_for

EIGHT = ["-m", "method=lora", "seed=0,1,2,3,4,5,6,7", "score_test=false"]


def claims(outputs: Path) -> dict[str, int]:
    """Return a dict from each claimed run to the id of its process."""
    found = {}
    for path in outputs.glob("*/claim.json"):
        try:
            found[path.parent.name] = int(json.loads(path.read_text())["pid"])
        except (OSError, ValueError):  # the claim was released, or is incomplete
            continue
    return found


@pytest.mark.slow
def test_joblib_runs_each_job_once_and_loses_only_a_killed_one(small: list[str], tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    command = [*EIGHT, *small, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = start(outputs, *command)
    begun = wait_for(process, lambda: claims(outputs))
    os.kill(next(iter(begun.values())), signal.SIGKILL)
    out, err = process.communicate()
    assert (process.returncode, err) == (1, "")
    assert "8 runs: 7 done, 1 failed" in out
    assert re.search(r"seed=\d.*: process \d+ was killed", out)
    done = {path: path.stat().st_mtime_ns for path in outputs.glob("*/predictions.jsonl")}
    assert len(done) == 7
    places = {path.with_name("train.log").read_text().split()[0] for path in done}  # the killed run may have no line
    assert len(places) == 7
    assert places < {f"{number}/8" for number in range(1, 9)}
    again = train(outputs, *command)
    assert (again.returncode, again.stderr) == (0, "")
    assert "8 runs: 1 done, 7 done already" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert not list((outputs / "sweeps").glob("jobs-*"))


@pytest.mark.slow
def test_a_run_at_its_time_limit_resumes_to_the_same_bits(small: list[str], tmp_path: Path) -> None:
    command = [*small, "method=lora", "trainer.max_epochs=60"]
    process = start(tmp_path / "told", "-m", *command, "hydra/launcher=submitit_local")
    wait_for(process, lambda: list((tmp_path / "told").glob("*/last.ckpt")))
    (pid,) = claims(tmp_path / "told").values()
    os.kill(pid, signal.SIGUSR2)  # submitit's controller and SLURM send this signal before the limit
    out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), (out, err)
    assert "1 run: 1 done" in out
    whole = train(tmp_path / "whole", *command)
    assert whole.returncode == 0
    (a,), (b,) = ((tmp_path / name).glob("lora-*") for name in ("told", "whole"))
    assert "resumes after epoch" in (a / "train.log").read_text()
    assert same_files(a, b)
    assert not list((tmp_path / "told" / "sweeps" / ".submitit").glob("*/*"))


def test_a_requeued_run_ends_by_the_signal_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitit, "JobEnvironment", lambda: SimpleNamespace(USR_SIG="USR2"))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}

    def told_to_stop() -> Any:
        signal.signal(signal.SIGTERM, interrupt)
        raise Interrupted(signal.SIGUSR2)

    try:
        with pytest.raises(SystemExit) as end:
            Requeued(told_to_stop)()  # type: ignore[arg-type]
        assert end.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "a second Interrupted would come while it ends"
    finally:
        for number, known in before.items():
            signal.signal(number, known)


def test_a_requeued_run_resumes_although_its_command_overwrites(monkeypatch: pytest.MonkeyPatch) -> None:
    with hydra_session():
        first, _ = expand(["seed=0,1", "overwrite=true", "++overwrite=true"])
    job = SweepJob(None, None, print, first, 0, 2, {})  # type: ignore[arg-type]
    requeued = Requeued(job).checkpoint()
    assert requeued.function.job.overrides == ("seed=0",)
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(SweepJob, "__call__", lambda job: started.append(job.overrides))
    monkeypatch.setattr(submitit, "JobEnvironment", lambda: SimpleNamespace(USR_SIG="USR2"))
    before = signal.getsignal(signal.SIGUSR2)
    try:
        Requeued(job)()
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # SLURM itself has requeued the job
        Requeued(job)()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert started == [first, ("seed=0",)]


TWO_JOBS = """
import os
import signal
import sys
import time
from functools import partial

from krona.runs.interrupts import interrupt
from krona.sweeps.launchers.joblib_processes import open_slots
from krona.sweeps.launchers.launch import run_pool


def job(pipe):
    signal.signal(signal.SIGTERM, interrupt)  # as a run does
    os.write(os.open(pipe, os.O_WRONLY), b"x")  # open for as long as the process lives
    time.sleep(600)


with open_slots(2, cores=1) as start:
    run_pool([partial(job, sys.argv[1])] * 2, count=2, start=start, started=str, ended=max)
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
    monkeypatch.setattr(child_processes.ctypes, "CDLL", lambda name: type("C", (), {"prctl": lambda *arguments: 0})())
    monkeypatch.setattr(child_processes.sys, "platform", "linux")
    monkeypatch.setattr(child_processes.os, "kill", lambda pid, number: told.append((pid, number)))
    child_processes.end_with_parent(os.getppid())
    assert told == []
    child_processes.end_with_parent(os.getppid() + 1)
    assert told == [(os.getpid(), 15)]


def test_after_an_interrupt_no_job_is_asked_again_for_its_outcome() -> None:
    class Running:
        def __init__(self, polls: int) -> None:
            self.left = polls

        def outcome(self) -> str | None:
            self.left -= 1
            assert self.left >= 0
            return None if self.left else "stopped"

        def terminate(self) -> None: ...

    running = iter([Running(2), Running(4)])

    def start(job: Any) -> Any:
        if job == 2:
            raise Interrupted(signal.SIGINT)
        return next(running)

    with pytest.raises(Interrupted):
        run_pool([0, 1, 2], count=3, start=start, started=str, ended=print)  # type: ignore[list-item, arg-type]
    assert next(running, None) is None
