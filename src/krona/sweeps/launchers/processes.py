"""Several jobs at a time in joblib's processes. A killed process loses its own job and no other."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from functools import partial
from types import FrameType
from typing import Any

from krona.jobs.interrupts import end_with_parent, interrupt
from krona.jobs.job import Job
from krona.sweeps.launchers.pool import Ended, Started, run_pool, shares
from krona.sweeps.launchers.sweep_job import SweepJob

POLL_S = 0.05


def run(jobs: Sequence[SweepJob], *, n_jobs: int, started: Started, ended: Ended) -> None:
    """Run all jobs in ``n_jobs`` processes (-1: one per core) that keep the backbone from job to job."""
    # After an interrupt loky's tracker removes what a killed process left, and warns of it on the user's screen.
    quiet = "ignore::UserWarning:joblib.externals.loky.backend.resource_tracker"
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), quiet]))
    count, cores = shares(n_jobs, jobs)
    slots = [Slot(environment(number, threads=cores)) for number in range(count)]

    def start(job: SweepJob) -> Slot:
        slot = next(slot for slot in slots if slot.future is None)
        slot.start(job)
        return slot

    try:
        run_pool(jobs, count=count, start=start, started=started, ended=ended, poll_s=POLL_S)
    finally:
        for slot in slots:
            slot.close()


class Slot:
    """One process at a time, with a new one if it is killed."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.executor: Any = None
        self.pid: Any = None  # a future, because the process takes seconds to start
        self.future: Any = None  # of the job that runs

    def start(self, job: SweepJob) -> None:
        try:
            self._submit(job)
        except BrokenExecutor:  # the process was killed between two jobs
            self.executor = None
            self._submit(job)

    def _submit(self, job: SweepJob) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        if self.executor is None:
            begin_here = partial(begin, os.getpid())
            self.executor = ProcessPoolExecutor(max_workers=1, env=self.env, initializer=begin_here)
            self.pid = self.executor.submit(os.getpid)
        self.future = self.executor.submit(run_one, job, os.getpid())

    def outcome(self) -> Job | str | None:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        if not self.future.done():
            return None
        future, self.future = self.future, None
        try:
            job: Job = future.result()
            return job
        except BrokenProcessPool:
            killed = "of a worker" if self.pid.exception() else self.pid.result()
            self.executor = None
            return f"process {killed} was killed (out of memory?); the same command resumes where it stopped"
        except BaseException as error:  # raised in the process: this job's error; the sweep continues
            return str(error) or type(error).__name__

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError, BrokenExecutor):
            os.kill(self.pid.result(), signal.SIGTERM)

    def close(self) -> None:
        if self.executor is not None:
            self.executor.shutdown(wait=True)


def begin(parent: int) -> None:
    """In a new process: no output on the shared screen, Ctrl-C only through the parent, and no life after it."""
    from joblib.externals.loky import process_executor

    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize  # the backbone that stays for the next job is no leak


def run_one(job: Callable[[], Job], parent: int) -> Job:
    """A job's outcome. The process ends after the job if its parent has ended: loky would wait for the next one."""
    try:
        return job()
    finally:
        signal.signal(signal.SIGTERM, partial(_between_jobs, parent))
        _leave_if_orphaned(parent)


def _between_jobs(parent: int, number: int, frame: FrameType | None) -> None:
    _leave_if_orphaned(parent)
    interrupt(number, frame)


def _leave_if_orphaned(parent: int) -> None:
    if os.getppid() != parent:
        os._exit(128 + signal.SIGTERM)  # loky would catch a SystemExit


def environment(slot: int, *, threads: int) -> dict[str, str]:
    """A slot's variables: its share of the cores, if none is set, and one of several GPUs."""
    import torch

    env = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = chosen.split(",") if chosen else [str(card) for card in range(torch.cuda.device_count())]
    return {**env, "CUDA_VISIBLE_DEVICES": cards[slot % len(cards)]} if len(cards) > 1 else env
