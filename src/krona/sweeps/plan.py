"""List the runs of a sweep and the state of each run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from krona.config.compose import compose_job, hydra_session
from krona.config.multirun import expand, read_axes
from krona.config.overrides import normalize
from krona.config.target_classes import NotAllowedError
from krona.messages import KronaError
from krona.paper import RECIPE_TABLES, TABLES
from krona.runs.folder import RunFolder, RunState
from krona.training.plan import plan_run


def list_states(overrides: Sequence[str], *, outputs: Path, source: Path | None = None) -> list[RunState]:
    """Return the state of each run of a sweep.

    Args:
        source: the file that contains the overrides, or None if the user typed them. Overrides from a file must not
            name a user's own classes.

    Raises:
        KronaError: the sweep has too many runs.
    """
    with hydra_session():
        return list_job_states(expand(normalize(["-m", *overrides])[1:]), outputs=outputs, source=source)


def list_job_states(jobs: Sequence[tuple[str, ...]], *, outputs: Path, source: Path | None = None) -> list[RunState]:
    """Return the state of each job's run. Call this function only while Hydra is initialised."""
    return [_find_state(job, outputs, source) for job in jobs]


def _find_state(job: tuple[str, ...], outputs: Path, source: Path | None) -> RunState:
    config: dict[str, Any] | None = None
    typed = tuple(item.removeprefix("++") for item in job)
    run_id = " ".join(typed)
    try:
        composed = compose_job(job)
        config = composed.config
        run_id = plan_run(composed, outputs, own=source is None, starts=False).run_id
    except KronaError as error:
        message = f"{source}: {error}" if isinstance(error, NotAllowedError) else str(error)
        return RunState(run_id, "wrong", outputs / run_id, error=message, config=config, overrides=typed)
    return replace(RunFolder(outputs / run_id).state(), config=config, overrides=typed)


def table_overrides(number: str, overrides: Sequence[str]) -> list[str]:
    """Return the overrides of the sweep for a table of the paper.

    A table of hyper-parameters (`RECIPE_TABLES`) uses the sweep of Table 1, restricted to the table's method. If
    ``overrides`` contain profile=demo and no task, the sample tasks replace the tasks of the table.

    Raises:
        KronaError: the table has no sweep.
    """
    if number == "3":
        raise KronaError(
            "The paper's Table 3 lists the shapes of the factors, not scores. krona params --shapes 768 lists them too."
        )
    if number not in (*TABLES, *RECIPE_TABLES):
        raise KronaError(f"Table {number} has no runs. Choose from {', '.join((*TABLES, *RECIPE_TABLES))}.")
    if number in RECIPE_TABLES:
        typed = ["sweeps=table1", f"method={RECIPE_TABLES[number]}", f"sweep=table{number}", *overrides]
    else:
        typed = [f"sweeps={f'table{number}' if number.isdecimal() else number}", *overrides]
    if "profile=demo" not in typed or any(item.lstrip("+").startswith("task=") for item in typed):
        return typed
    with hydra_session():
        tasks = str(read_axes(typed[:1])["task"]).split(",")
    return [*typed, "task=" + ",".join(f"sample_{task.strip()}" for task in tasks)]
