"""Launch the jobs of a multirun, and return an outcome for each job, even if it was killed."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from krona.formatting import say
from krona.jobs.job import Job
from krona.paths import OUTPUTS
from krona.sweeps.launchers import joblib_processes, submitted
from krona.sweeps.launchers.pool import share_cores
from krona.sweeps.launchers.sweep_job import SweepJob
from krona.sweeps.output import SweepProgress


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
    if engine == "submitit_slurm":
        at_a_time = settings["array_parallelism"]
    else:
        at_a_time = share_cores(settings["n_jobs"], len(jobs))[0]
    progress = SweepProgress(len(jobs), at_a_time=at_a_time)
    shared = set.intersection(*(set(job.overrides) for job in jobs))

    def started(job: SweepJob) -> None:
        own = [item for item in job.overrides if item not in shared]
        say(console, progress.start_line(" ".join(own or job.overrides)))

    def ended(job: SweepJob, outcome: Job | str) -> None:
        if not isinstance(outcome, Job):
            outcome = Job(" ".join(job.overrides), "failed", OUTPUTS, error=outcome, overrides=job.overrides)
        outcomes[job.number] = outcome
        say(console, progress.end_line(outcome))

    if engine == "joblib":
        joblib_processes.run(jobs, n_jobs=settings["n_jobs"], started=started, ended=ended)
    elif engine == "submitit_local":
        submitted.run_local(jobs, settings=settings, started=started, ended=ended)
    else:
        submitted.run_slurm(jobs, settings=settings, ended=ended)
    return [outcomes[job.number] for job in jobs]
