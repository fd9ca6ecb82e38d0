"""Jobs on this machine, a number of them at a time."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from krona.jobs.job import Job
from krona.sweeps.launchers.sweep_job import SweepJob
from krona.training.machine import cpu_count

Started = Callable[[SweepJob], None]
Ended = Callable[[SweepJob, Job | str], None]  # the outcome of a job, or why it has none


class RunningJob(Protocol):
    """A job that was started."""

    def outcome(self) -> Job | str | None:
        """Return the job's outcome, or why it has none; None while it is running."""

    def terminate(self) -> None:
        """Send SIGTERM to the job."""


def run_pool(
    jobs: Sequence[SweepJob],
    *,
    count: int,
    start: Callable[[SweepJob], RunningJob],
    started: Started,
    ended: Ended,
    poll_s: float,
) -> None:
    """Run all jobs on this machine, ``count`` at a time. An interrupt is forwarded to the running ones."""
    waiting, running = deque(jobs), list[tuple[SweepJob, RunningJob]]()
    try:
        while waiting or running:
            while waiting and len(running) < count:
                started(job := waiting.popleft())
                running.append((job, start(job)))
            time.sleep(poll_s)
            for item in list(running):
                if (outcome := item[1].outcome()) is not None:
                    running.remove(item)
                    ended(item[0], outcome)
    except BaseException:
        for _, one in running:
            one.terminate()
        while any(one.outcome() is None for _, one in running):
            time.sleep(0.1)
        raise


def share_cores(n_jobs: int, jobs: int) -> tuple[int, int]:
    """Return how many jobs run at a time (``n_jobs``; -1: one per core), and the cores of each."""
    cores = cpu_count()
    count = min(cores if n_jobs < 0 else max(1, n_jobs), jobs)
    return count, max(1, cores // count)
