"""List the runs of a sweep and the state of each run, and run the sweep of a table of the paper."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from krona.config import check
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import expand_command, read_axes
from krona.config.target_classes import NotAllowedError
from krona.display_names import BENCHMARKS
from krona.messages import KronaError
from krona.paper import RECIPE_TABLES, TABLES
from krona.paths import program
from krona.runs.folder import RunFolder, RunState
from krona.runs.processes import PARENT, Interrupted, exit_on_interrupt, signal_number
from krona.training.plan import plan_run, require_rows, require_settings

RUN_IDS = "KRONA_RUN_IDS"  # environment variable with a file in which the multirun writes the ids of its runs
GRACE_S = 5.0  # seconds for which this process waits for a process that has received Ctrl-C itself


def list_states(overrides: Sequence[str], *, outputs: Path, source: Path | None = None) -> list[RunState]:
    """Return the state of each run of a sweep.

    Args:
        source: the file that contains the overrides, or None if the user typed them. Overrides from a file must not
            name a user's own classes.

    Raises:
        KronaError: the sweep has too many runs.
    """
    jobs = expand_command(overrides)
    with hydra_session():
        return [find_state(job, outputs, source) for job in jobs]


def find_state(job: tuple[str, ...], outputs: Path, source: Path | None = None) -> RunState:
    """Return the state of a job's run. Call this function only while Hydra is initialised."""
    config: dict[str, Any] | None = None
    run_id = " ".join(job)
    try:
        composed = compose_job(job)
        config = composed.config
        run_id = plan_run(composed, outputs, own=source is None, starts=False).run_id
    except KronaError as error:
        message = f"{source}: {error}" if isinstance(error, NotAllowedError) else str(error)
        return RunState(run_id, "wrong", outputs / run_id, error=message, config=config, overrides=job)
    return replace(RunFolder(outputs / run_id).state(), config=config, overrides=job)


def check_runs(runs: Sequence[RunState]) -> list[RunState]:
    """Check the settings, files and rows of runs that may start. Runs that would fail get the state "wrong".

    Rows on the Hub and downloads are checked when a run starts.
    """
    errors: dict[str, str | None] = {}  # of reading the rows, by task and data
    return [
        run if run.state == "wrong" or (error := _find_error(run, errors)) is None
        else replace(run, state="wrong", error=error)
        for run in runs
    ]  # fmt: skip


def _find_error(run: RunState, errors: dict[str, str | None]) -> str | None:
    if run.config is None or run.state in ("done", "running"):
        return None
    settings = check.settings(run.config, own=True, imports=False)
    try:
        require_settings(settings, starts=False)
    except KronaError as error:
        return str(error)
    if settings.task.data_kind in BENCHMARKS and settings.data.kind == "hub":
        return None
    key = repr((settings.task, settings.data))
    if key not in errors:
        errors[key] = None
        try:
            require_rows(settings)
        except KronaError as error:
            errors[key] = str(error)
    return errors[key]


def table_overrides(number: str, overrides: Sequence[str]) -> list[str]:
    """Return the overrides of the sweep for a table of the paper.

    A table of hyper-parameters (`RECIPE_TABLES`) uses the sweep of Table 1, restricted to the table's method. If
    ``overrides`` contain profile=demo and no task, the sample tasks replace the tasks of the table.

    Raises:
        KronaError: the table has no sweep.
    """
    if number == "3":
        raise KronaError("The paper's Table 3 lists the shapes of the factors, not scores.")
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


def run_sweep(overrides: Sequence[str]) -> tuple[int, set[str] | None]:
    """Run all runs of a sweep. Return the exit code and the ids of the valid runs.

    The ids are None if the sweep could not be planned. After an interrupt, this process waits for the sweep and then
    exits. If this process is killed, the sweep ends (`krona.runs.processes`).
    """
    with tempfile.TemporaryDirectory() as folder, exit_on_interrupt(announce=False):  # the sweep announces it
        file = Path(folder) / "run_ids.txt"
        environment = {**os.environ, PARENT: str(os.getpid()), RUN_IDS: str(file)}
        process = subprocess.Popen([*program("train"), "-m", *overrides], env=environment)
        try:
            code = process.wait()
        except BaseException as error:
            if isinstance(error, Interrupted) and signal_number(error) == signal.SIGINT:
                with suppress(subprocess.TimeoutExpired):  # the terminal sends Ctrl-C to the sweep, too
                    process.wait(GRACE_S)
            process.terminate()  # has no effect on a process that has ended
            process.wait()
            raise
        ids = set(file.read_text().split()) if file.exists() else None
    return code if code >= 0 else 128 - code, ids
