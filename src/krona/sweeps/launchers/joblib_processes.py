"""Run several jobs at the same time in processes of joblib. If a process is killed, only its current job fails."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from functools import partial
from types import FrameType
from typing import Any

from krona.runs.interrupts import interrupt
from krona.sweeps.launchers.sweep_job import SweepJob
from krona.training.jobs.child_processes import end_with_parent
from krona.training.jobs.job import Job


@contextlib.contextmanager
def open_slots(count: int, *, cores: int) -> Iterator[Callable[[SweepJob], "Slot"]]:
    """Yield a function that starts a job in one of ``count`` processes, each of which uses a number of CPU cores.

    Each process keeps the backbone in memory for its next job.
    """
    # After an interrupt, loky's resource tracker removes resources of killed processes. This filter hides its warning.
    quiet = "ignore::UserWarning:joblib.externals.loky.backend.resource_tracker"
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), quiet]))
    slots = [Slot(environment(number, threads=cores)) for number in range(count)]

    def start(job: SweepJob) -> Slot:
        slot = next(slot for slot in slots if slot.future is None)
        slot.start(job)
        return slot

    try:
        yield start
    finally:
        for slot in slots:
            if slot.executor is not None:
                slot.executor.shutdown(wait=True)


class Slot:
    """A process that runs one job after another. If it is killed, the next job starts a new process."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.executor: Any = None
        self.pid: Any = None  # a future of the process id, because starting a process takes seconds
        self.future: Any = None  # the future of the running job; None if no job is running

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
        """Return the outcome of the job, or why it has no outcome, or None while it runs.

        Do not call the method again for the same job after it has returned an outcome.
        """
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
            return f"process {killed} was killed, perhaps for lack of memory. The same command resumes the run."
        except BaseException as error:  # the job raised an error, and the sweep continues
            return str(error) or type(error).__name__

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError, BrokenExecutor):
            os.kill(self.pid.result(), signal.SIGTERM)


def begin_process(parent: int) -> None:
    """Prepare a new process of the pool.

    The process prints nothing, ignores Ctrl-C (the parent sends a SIGTERM instead), and ends when its parent ends.
    """
    from joblib.externals.loky import process_executor

    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - stays open until the process ends
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize  # or loky would treat the kept backbone as a memory leak


def run_job(job: Callable[[], Job], parent: int) -> Job:
    """Run a job and return its outcome. If the parent process has ended, end this process after the job.

    Without this, loky would wait for the next job forever.
    """
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
        os._exit(128 + signal.SIGTERM)  # sys.exit does not work, because loky catches SystemExit


def environment(slot: int, *, threads: int) -> dict[str, str]:
    """Return the environment variables for the process of a `Slot`.

    They set the number of threads, unless the user has set it. If there are several GPUs, each slot uses another GPU.
    """
    import torch

    env = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = visible.split(",") if visible else [str(card) for card in range(torch.cuda.device_count())]
    return {**env, "CUDA_VISIBLE_DEVICES": cards[slot % len(cards)]} if len(cards) > 1 else env
