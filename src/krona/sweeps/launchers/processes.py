"""Several jobs at a time in joblib's processes. A killed process loses only its own job."""

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
from krona.sweeps.launchers.pool import Ended, Started, run_pool, share_cores
from krona.sweeps.launchers.sweep_job import SweepJob

POLL_S = 0.05


def run(jobs: Sequence[SweepJob], *, n_jobs: int, started: Started, ended: Ended) -> None:
    """Run all jobs in ``n_jobs`` processes (-1: one per core), which keep the backbone from job to job."""
    # after an interrupt loky's tracker removes what a killed process left, and warns of it on the user's screen
    quiet = "ignore::UserWarning:joblib.externals.loky.backend.resource_tracker"
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), quiet]))
    count, cores = share_cores(n_jobs, len(jobs))
    slots = [Slot(environment(number, threads=cores)) for number in range(count)]

    def start(job: SweepJob) -> Slot:
        slot = next(slot for slot in slots if slot.future is None)
        slot.start(job)
        return slot

    try:
        run_pool(jobs, count=count, start=start, started=started, ended=ended, poll_s=POLL_S)
    finally:
        for slot in slots:
            if slot.executor is not None:
                slot.executor.shutdown(wait=True)


class Slot:
    """One process at a time. If it is killed, the next job gets a new one."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.executor: Any = None
        self.pid: Any = None  # a future, because the process takes seconds to start
        self.future: Any = None  # of the running job

    def start(self, job: SweepJob) -> None:
        try:
            self._submit(job)
        except BrokenExecutor:  # the process was killed between two jobs
            self.executor = None
            self._submit(job)

    def _submit(self, job: SweepJob) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        if self.executor is None:
            begin = partial(begin_process, os.getpid())
            self.executor = ProcessPoolExecutor(max_workers=1, env=self.env, initializer=begin)
            self.pid = self.executor.submit(os.getpid)
        self.future = self.executor.submit(run_job, job, os.getpid())

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
        except BaseException as error:  # raised by the job: the sweep continues
            return str(error) or type(error).__name__

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError, BrokenExecutor):
            os.kill(self.pid.result(), signal.SIGTERM)


def begin_process(parent: int) -> None:
    """Prepare a new process: no output, no Ctrl-C except through its parent, and an end with its parent."""
    from joblib.externals.loky import process_executor

    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process lives
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize  # the backbone that stays for the next job is not a leak


def run_job(job: Callable[[], Job], parent: int) -> Job:
    """Return a job's outcome. End the process afterwards if its parent has ended: loky would wait for the next job."""
    try:
        return job()
    finally:
        signal.signal(signal.SIGTERM, partial(_end_between_jobs, parent))
        _end_if_orphaned(parent)


def _end_between_jobs(parent: int, number: int, frame: FrameType | None) -> None:
    _end_if_orphaned(parent)
    interrupt(number, frame)


def _end_if_orphaned(parent: int) -> None:
    if os.getppid() != parent:
        os._exit(128 + signal.SIGTERM)  # loky would catch a SystemExit


def environment(slot: int, *, threads: int) -> dict[str, str]:
    """Return the variables of a slot: its number of threads, if none is set, and one of several GPUs."""
    import torch

    env = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = visible.split(",") if visible else [str(card) for card in range(torch.cuda.device_count())]
    return {**env, "CUDA_VISIBLE_DEVICES": cards[slot % len(cards)]} if len(cards) > 1 else env
