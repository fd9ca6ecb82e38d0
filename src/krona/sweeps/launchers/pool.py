"""Jobs on this machine, a number of them at a time."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from krona.jobs.job import Job
from krona.sweeps.launchers.sweep_job import SweepJob
from krona.training.machine import cpu_count

Started = Callable[[SweepJob], None]
Ended = Callable[[SweepJob, Job | str], None]  # a job's outcome, or why there is none


class Running(Protocol):
    """A job that was started."""

    def outcome(self) -> Job | str | None:
        """The job's outcome, or why it has none; None while it is running."""

    def terminate(self) -> None:
        """Send it a SIGTERM."""


def run_pool(
    jobs: Sequence[SweepJob],
    *,
    count: int,
    start: Callable[[SweepJob], Running],
    started: Started,
    ended: Ended,
    poll_s: float,
) -> None:
    """Run all jobs, ``count`` at a time. An interrupt is forwarded to the running ones and waited for."""
    waiting, running = deque(jobs), list[tuple[SweepJob, Running]]()
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


def shares(n_jobs: int, jobs: Sequence[SweepJob]) -> tuple[int, int]:
    """How many jobs run at a time (-1: one per core), and how many cores each gets."""
    cores = cpu_count()
    count = min(cores if n_jobs < 0 else max(1, n_jobs), len(jobs))
    return count, max(1, cores // count)
