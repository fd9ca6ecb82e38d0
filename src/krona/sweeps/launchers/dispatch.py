"""Launching a multirun's jobs: each yields a `Job`; one that was killed yields a failed one."""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from krona.jobs.job import WORDS, Job
from krona.messages import KronaError
from krona.paths import OUTPUTS
from krona.screen import duration, say, scores
from krona.sweeps import ledger
from krona.sweeps.launchers import processes, submitted
from krona.sweeps.launchers.sweep_job import SweepJob

ENGINES = ("joblib", "submitit_local", "submitit_slurm")


def launch(engine: str, jobs: Sequence[SweepJob], settings: Mapping[str, Any]) -> list[Job]:
    """Run all jobs, with a line for each when it ends; their outcomes in the jobs' order.

    Raises:
        KronaError: submitit is not installed, or the cluster rejects a job.
    """
    require_package(engine)
    console = Console(soft_wrap=True)
    outcomes: dict[int, Job] = {}

    def ended(job: SweepJob, outcome: Job | str) -> None:
        outcomes[job.number] = done = outcome if isinstance(outcome, Job) else _lost(job, outcome)
        say(console, f"{len(outcomes)}/{len(jobs)}  {_line(done)}")

    if engine == "joblib":
        processes.run(jobs, n_jobs=settings["n_jobs"], ended=ended)
    elif engine == "submitit_local":
        submitted.run_local(jobs, settings=settings, ended=ended)
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


def _line(job: Job) -> str:
    result = job.result
    if job.error is not None or result is None:
        return f"{WORDS[job.state]}  {job.run_id}: {job.error}"
    dev, test = (part["score"] if part else None for part in (result.dev, result.test))
    return "  ".join([WORDS[job.state], job.run_id, scores(dev, test), duration(result.times["total"])])
