"""Launching a multirun's jobs: each yields a `Job`; one that was killed yields a failed one."""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from krona.jobs.job import Job
from krona.messages import KronaError
from krona.paths import OUTPUTS
from krona.screen import say
from krona.sweeps import ledger
from krona.sweeps.launchers import processes, submitted
from krona.sweeps.launchers.sweep_job import SweepJob
from krona.sweeps.progress import Progress

ENGINES = ("joblib", "submitit_local", "submitit_slurm")


def launch(engine: str, jobs: Sequence[SweepJob], settings: Mapping[str, Any]) -> list[Job]:
    """Run all jobs, with a line for each when it starts (not known of SLURM's queue) and ends; their outcomes in order.

    Raises:
        KronaError: submitit is not installed, or the cluster rejects a job.
    """
    require_package(engine)
    console = Console(soft_wrap=True)
    outcomes: dict[int, Job] = {}
    here = 1 if engine == "submitit_slurm" else processes.shares(settings["n_jobs"], jobs)[0]
    progress = Progress(len(jobs), at_a_time=here)
    shared = set.intersection(*(set(job.overrides) for job in jobs))

    def started(job: SweepJob) -> None:
        own = [item for item in job.overrides if item not in shared]
        say(console, progress.start_line(" ".join(own or job.overrides)))

    def ended(job: SweepJob, outcome: Job | str) -> None:
        outcomes[job.number] = done = outcome if isinstance(outcome, Job) else _lost(job, outcome)
        say(console, progress.end_line(done))

    if engine == "joblib":
        processes.run(jobs, n_jobs=settings["n_jobs"], started=started, ended=ended)
    elif engine == "submitit_local":
        submitted.run_local(jobs, settings=settings, started=started, ended=ended)
    else:
        submitted.run_slurm(jobs, settings=settings, typed=typed_settings(jobs), ended=ended)
    return [outcomes[job.number] for job in jobs]


def require_package(engine: str) -> None:
    if engine.startswith("submitit") and importlib.util.find_spec("submitit") is None:
        raise KronaError(f"hydra/launcher={engine} needs submitit, which is not installed: pip install -e '.[cluster]'")


def typed_settings(jobs: Sequence[SweepJob]) -> set[str]:
    """The launcher's settings on the command line: ``timeout_min`` of hydra.launcher.timeout_min=60."""
    overrides = jobs[0].config.hydra.overrides.hydra
    keys = [str(item).lstrip("+").split("=", 1)[0] for item in overrides]
    return {key.removeprefix("hydra.launcher.") for key in keys if key.startswith("hydra.launcher.")}


def _lost(job: SweepJob, why: str) -> Job:
    """The outcome of a job that returned none; it is in the ledger like the others."""
    lost = Job(" ".join(job.overrides), "failed", OUTPUTS, error=why, overrides=job.overrides)
    ledger.note_job(lost, number=job.number, overrides=job.overrides)
    return lost
