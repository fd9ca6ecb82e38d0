"""Run several jobs at the same time on this machine."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from krona.jobs.job import Job
from krona.sweeps.launchers.sweep_job import SweepJob
from krona.training.machine import cpu_count

POLL_S = 0.1  # seconds between two checks of the running jobs
Started = Callable[[SweepJob], None]
Ended = Callable[[SweepJob, Job | str], None]  # the arguments: a job, and its outcome or why it has no outcome


class RunningJob(Protocol):
    """A job that has been started."""

    def outcome(self) -> Job | str | None:
        """Return the outcome of the job, or a text that explains why it has no outcome. Return None while it runs.

        After it has returned an outcome, it must not be called again.
        """

    def terminate(self) -> None:
        """Send SIGTERM to the job."""


def run_pool(
    jobs: Sequence[SweepJob],
    *,
    count: int,
    start: Callable[[SweepJob], RunningJob],
    started: Started,
    ended: Ended,
) -> None:
    """Run all jobs on this machine, ``count`` at the same time. An interrupt is forwarded to the running jobs.

    The functions ``started`` and ``ended`` are called just before a job starts and when it has ended.
    """
    waiting, running = deque(jobs), list[tuple[SweepJob, RunningJob]]()
    try:
        while waiting or running:
            while waiting and len(running) < count:
                started(job := waiting.popleft())
                running.append((job, start(job)))
            time.sleep(POLL_S)
            for item in list(running):
                if (outcome := item[1].outcome()) is not None:
                    running.remove(item)
                    ended(item[0], outcome)
    except BaseException:
        for _, one in running:
            one.terminate()
        while running := [item for item in running if item[1].outcome() is None]:
            time.sleep(POLL_S)
        raise


def share_cores(n_jobs: int, jobs: int) -> tuple[int, int]:
    """Return the number of jobs that run at the same time, and the number of CPU cores for each of them.

    ``n_jobs`` is the maximum number; -1 means one job per core.
    """
    cores = cpu_count()
    count = min(cores if n_jobs < 0 else max(1, n_jobs), jobs)
    return count, max(1, cores // count)
