"""A multirun's jobs handed to an engine: each comes back as a `Job`, one that was killed as a failed one."""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from krona.jobs.job import Job
from krona.messages import KronaError
from krona.paths import OUTPUTS
from krona.screen import duration, say
from krona.sweeps import ledger
from krona.sweeps.launchers import processes, submitted
from krona.sweeps.launchers.task import Task

PACKAGES = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit"}


def launch(engine: str, tasks: Sequence[Task], settings: Mapping[str, Any]) -> list[Job]:
    """Run all tasks, with a line for each as it ends; their jobs in the tasks' order.

    Raises:
        KronaError: the engine's package is not installed, or the cluster takes no job.
    """
    require_package(engine)
    console = Console(soft_wrap=True)
    jobs: dict[int, Job] = {}

    def ended(task: Task, outcome: Job | str) -> None:
        job = outcome if isinstance(outcome, Job) else _lost(task, outcome)
        jobs[task.number] = job
        say(console, f"{len(jobs)}/{len(tasks)}  {_line(job)}")

    if engine == "joblib":
        processes.run(tasks, n_jobs=settings["n_jobs"], ended=ended)
    elif engine == "submitit_local":
        submitted.run_local(tasks, settings=settings, ended=ended)
    else:
        submitted.run_slurm(tasks, settings=settings, typed=typed_settings(tasks), ended=ended)
    return [jobs[task.number] for task in tasks]


def require_package(engine: str) -> None:
    package = PACKAGES[engine]
    if importlib.util.find_spec(package) is None:
        raise KronaError(
            f"hydra/launcher={engine} needs {package}, which is not installed: pip install -e '.[cluster]'"
        )


def typed_settings(tasks: Sequence[Task]) -> set[str]:
    """The launcher's settings that were typed: ``timeout_min`` of hydra.launcher.timeout_min=60."""
    overrides = tasks[0].config.hydra.overrides.hydra
    keys = [str(item).lstrip("+").split("=", 1)[0] for item in overrides]
    return {key.removeprefix("hydra.launcher.") for key in keys if key.startswith("hydra.launcher.")}


def _lost(task: Task, why: str) -> Job:
    """The job of a task that brought none back: it is in the ledger like the others."""
    job = Job(" ".join(task.overrides), "failed", OUTPUTS, error=why, overrides=task.overrides)
    ledger.note_job(job, number=task.number, overrides=task.overrides)
    return job


def _line(job: Job) -> str:
    result = job.result
    if job.error is not None or result is None:
        return f"{job.state}  {job.run_id}: {job.error}"
    scores = [f"{name} {part['score']:.2f}" for name in ("dev", "test") if (part := getattr(result, name))]
    return "  ".join([job.state, job.run_id, *scores, duration(result.times["total"])])
