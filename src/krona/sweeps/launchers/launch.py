"""Launch the jobs of a multirun, and return an outcome for each job, even if it was killed."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console

from krona.formatting import say
from krona.paths import OUTPUTS
from krona.sweeps.launchers import joblib_processes, submitted
from krona.sweeps.launchers.sweep_job import SweepJob
from krona.sweeps.output import SweepProgress
from krona.training.jobs.job import Job
from krona.training.machine import cpu_count

POLL_S = 0.1  # seconds between two checks of the running jobs
RunningJob = joblib_processes.Slot | submitted.Submitted


def launch(engine: str, jobs: Sequence[SweepJob], settings: Mapping[str, Any]) -> list[Job]:
    """Run all jobs, and return their outcomes in the order of the jobs. Print a line for each start and end of a job.

    Args:
        engine: ``joblib``, ``submitit_local`` or ``submitit_slurm``.
        settings: the settings of ``hydra.launcher``, which `Ledger` has checked.

    Raises:
        KronaError: the cluster rejects a job.
    """
    console = Console(soft_wrap=True)
    outcomes: dict[int, Job] = {}
    on_cluster = engine == "submitit_slurm"
    count, cores = (settings["array_parallelism"], 0) if on_cluster else share_cores(settings["n_jobs"], len(jobs))
    progress = SweepProgress(len(jobs), at_a_time=count)
    shared = set.intersection(*(set(job.overrides) for job in jobs))

    def started(job: SweepJob) -> None:
        own = [item for item in job.overrides if item not in shared]
        say(console, progress.start_line(" ".join(own or job.overrides)))

    def ended(job: SweepJob, outcome: Job | str) -> None:
        if not isinstance(outcome, Job):
            outcome = Job(" ".join(job.overrides), "failed", OUTPUTS, error=outcome, overrides=job.overrides)
        outcomes[job.number] = outcome
        say(console, progress.end_line(outcome))

    run_here = partial(run_pool, jobs, count=count, started=started, ended=ended)
    if on_cluster:
        submitted.run_slurm(jobs, settings=settings, ended=ended)
    elif engine == "submitit_local":
        run_here(start=submitted.local_starter(settings, cores=cores))
    else:
        with joblib_processes.open_slots(count, cores=cores) as start:
            run_here(start=start)
    return [outcomes[job.number] for job in jobs]


def run_pool(
    jobs: Sequence[SweepJob],
    *,
    count: int,
    start: Callable[[SweepJob], RunningJob],
    started: Callable[[SweepJob], None],
    ended: Callable[[SweepJob, Job | str], None],
) -> None:
    """Run all jobs on this machine, ``count`` at the same time. An interrupt is forwarded to the running jobs.

    The functions ``started`` and ``ended`` are called just before a job starts and when it has ended. ``ended`` also
    gets the outcome of the job, or a text that explains why it has no outcome.
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
