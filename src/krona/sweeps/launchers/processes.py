"""Several jobs at a time in joblib's processes. A killed process loses its own job and no other."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FrameType
from typing import Any

from krona.jobs.job import Job
from krona.jobs.processes import end_with_parent, interrupt
from krona.sweeps.launchers.sweep_job import SweepJob
from krona.training.machine import cpu_count

Started = Callable[[SweepJob], None]
Ended = Callable[[SweepJob, Job | str], None]  # a job's outcome, or why there is none


def run(jobs: Sequence[SweepJob], *, n_jobs: int, started: Started, ended: Ended) -> None:
    """Run all jobs in ``n_jobs`` processes (-1: one per core) that keep the backbone from job to job.

    ``started`` and ``ended`` are called for one job at a time. An interrupt is forwarded to the processes, and waited
    for.
    """
    import joblib.externals.loky  # noqa: F401 - before the threads, which would import it all at once

    # After an interrupt loky's tracker removes what a killed process left, and warns of it on the user's screen.
    quiet = "ignore::UserWarning:joblib.externals.loky.backend.resource_tracker"
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), quiet]))
    count, cores = shares(n_jobs, jobs)
    lock, stopped = threading.Lock(), threading.Event()
    waiting = iter(jobs)

    def end(job: SweepJob, outcome: Job | str) -> None:
        with lock:
            ended(job, outcome)

    def next_job() -> SweepJob | None:
        with lock:
            job = None if stopped.is_set() else next(waiting, None)
            if job is not None:
                started(job)
            return job

    slots = [Slot(environment(slot, threads=cores), stopped) for slot in range(count)]
    threads = [threading.Thread(target=slot.run, args=(iter(next_job, None), end), daemon=True) for slot in slots]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(timeout=0.2)  # signals are handled in between
    except BaseException:
        stopped.set()
        for slot in slots:
            slot.terminate()
        for thread in threads:
            thread.join()
        raise


def shares(n_jobs: int, jobs: Sequence[SweepJob]) -> tuple[int, int]:
    """How many jobs run at a time (-1: one per core), and how many cores each gets."""
    cores = cpu_count()
    count = min(cores if n_jobs < 0 else max(1, n_jobs), len(jobs))
    return count, max(1, cores // count)


class Slot:
    """One process at a time, with a new one if it is killed."""

    def __init__(self, env: dict[str, str], stopped: threading.Event) -> None:
        self.env, self.stopped = env, stopped
        self.pid: int | None = None

    def run(self, jobs: Iterator[SweepJob], ended: Ended) -> None:
        from joblib.externals.loky import ProcessPoolExecutor
        from joblib.externals.loky.process_executor import BrokenProcessPool

        executor: Any = None
        for job in jobs:
            try:
                if executor is None:
                    executor = ProcessPoolExecutor(
                        max_workers=1, env=self.env, initializer=begin, initargs=(os.getpid(),)
                    )
                    self.pid = executor.submit(os.getpid).result()
                if self.stopped.is_set():
                    break
                outcome: Job | str = executor.submit(run_one, job, os.getpid()).result()
            except BrokenProcessPool:
                outcome = f"process {self.pid} was killed (out of memory?); the same command resumes where it stopped"
                executor = self.pid = None
            except BaseException as error:  # raised in the process: this job's error; the sweep continues
                outcome = str(error) or type(error).__name__
            ended(job, outcome)
        if executor is not None:
            executor.shutdown(wait=True)

    def terminate(self) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)


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
