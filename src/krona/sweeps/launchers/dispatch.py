"""Launching a multirun's jobs: each yields a `Job`; one that was killed yields a failed one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from krona.jobs.job import Job
from krona.paths import OUTPUTS
from krona.screen import say
from krona.sweeps.launchers import processes, submitted
from krona.sweeps.launchers.pool import shares
from krona.sweeps.launchers.settings import require
from krona.sweeps.launchers.sweep_job import SweepJob
from krona.sweeps.progress import Progress

Note = Callable[..., None]  # krona.sweeps.ledger.note_job
ENGINES = ("joblib", "submitit_local", "submitit_slurm")


def launch(engine: str, jobs: Sequence[SweepJob], settings: Mapping[str, Any], *, note: Note) -> list[Job]:
    """Run all jobs, with a line for each when it starts (not known of SLURM's queue) and ends; their outcomes in order.

    ``note`` enters a job that returned no outcome in the ledger, where the others enter themselves.

    Raises:
        KronaError: a wrong setting, no submitit, or the cluster rejects a job.
    """
    require(engine, settings)
    console = Console(soft_wrap=True)
    outcomes: dict[int, Job] = {}
    here = 1 if engine == "submitit_slurm" else shares(settings["n_jobs"], jobs)[0]
    progress = Progress(len(jobs), at_a_time=here)
    shared = set.intersection(*(set(job.overrides) for job in jobs))

    def started(job: SweepJob) -> None:
        own = [item for item in job.overrides if item not in shared]
        say(console, progress.start_line(" ".join(own or job.overrides)))

    def ended(job: SweepJob, outcome: Job | str) -> None:
        done = outcome if isinstance(outcome, Job) else _lost(job, outcome)
        if done is not outcome:
            note(done, number=job.number, overrides=job.overrides)
        outcomes[job.number] = done
        say(console, progress.end_line(done))

    if engine == "joblib":
        processes.run(jobs, n_jobs=settings["n_jobs"], started=started, ended=ended)
    elif engine == "submitit_local":
        submitted.run_local(jobs, settings=settings, started=started, ended=ended)
    else:
        submitted.run_slurm(jobs, settings=settings, typed=typed_settings(jobs), ended=ended)
    return [outcomes[job.number] for job in jobs]


def typed_settings(jobs: Sequence[SweepJob]) -> set[str]:
    """The launcher's settings on the command line: ``timeout_min`` of hydra.launcher.timeout_min=60."""
    overrides = jobs[0].config.hydra.overrides.hydra
    keys = [str(item).lstrip("+").split("=", 1)[0] for item in overrides]
    return {key.removeprefix("hydra.launcher.") for key in keys if key.startswith("hydra.launcher.")}


def _lost(job: SweepJob, why: str) -> Job:
    """The outcome of a job that returned none."""
    return Job(" ".join(job.overrides), "failed", OUTPUTS, error=why, overrides=job.overrides)
