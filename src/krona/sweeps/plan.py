"""The plan of a sweep: its runs and the state of each."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from krona.config import check
from krona.config.compose import Composer, hydra_session
from krona.config.multirun import expand, read_axes
from krona.config.overrides import normalize, translate_errors
from krona.config.targets import NotAllowedError
from krona.messages import KronaError
from krona.paths import choice_files
from krona.runs.folder import RunFolder, State
from krona.runs.index import summaries
from krona.runs.result import Result


@dataclass(frozen=True)
class Planned:
    """One run of a sweep and its state."""

    overrides: tuple[str, ...]
    run_id: str
    state: State
    result: Result | None = None
    error: str | None = None
    config: dict[str, Any] | None = None  # None if composing failed, or the run is not of a sweep

    def updated(self, outputs: Path) -> "Planned":
        """The same run with its present state."""
        state, result, error = RunFolder(outputs / self.run_id).state()
        return replace(self, state=state, result=result, error=error)


def plan(overrides: Sequence[str], *, outputs: Path, source: Path | None = None) -> list[Planned]:
    """All runs of a sweep with their state. Raises KronaError for a sweep of absurd size.

    ``source``: the file that the overrides were read from, whose classes are not the user's own; None: typed here.
    """
    with hydra_session():
        composer = Composer()
        return [_planned(job, outputs, composer, source) for job in expand(normalize(["-m", *overrides])[1:])]


def made_before(jobs: Sequence[tuple[str, ...]], sweep: str, *, outputs: Path) -> list[str]:
    """The ids of those runs of a sweep that were made outside it, which belong to it too. To be called inside Hydra."""
    results = (one for one in summaries(outputs) if isinstance(one, Result))
    others = {one.run_id for one in results if one.config.get("sweep") != sweep}
    if not others:
        return []
    from krona.jobs.job import identify  # torch

    composer, found = Composer(), []
    for job in jobs:
        with suppress(KronaError), translate_errors(job):  # reported when the job runs
            found.append(identify(check.settings(composer.job(job).config, own=True)))
    return [run_id for run_id in found if run_id in others]


def _planned(job: tuple[str, ...], outputs: Path, composer: Composer, source: Path | None) -> Planned:
    config: dict[str, Any] | None = None
    try:
        from krona.jobs.job import identify  # torch

        config = composer.job(job).config
        run_id = identify(check.settings(config, own=source is None))
    except NotAllowedError as error:
        return Planned(job, " ".join(job), "wrong", error=f"{source}: {error}", config=config)
    except KronaError as error:
        return Planned(job, " ".join(job), "wrong", error=str(error), config=config)
    return Planned(job, run_id, *RunFolder(outputs / run_id).state(), config=config)


def of_table(number: int, overrides: Sequence[str]) -> list[str]:
    """The overrides for a table of the paper; profile=demo without a task uses the sample tasks."""
    name, there = f"table{number}", [sweep for sweep in choice_files("sweeps") if sweep.startswith("table")]
    if name not in there:
        tables = ", ".join(sweep.removeprefix("table") for sweep in there)
        raise KronaError(f"table {number} can't be run: sweeps/ has the tables {tables}")
    typed = [f"sweeps={name}", *overrides]
    if "profile=demo" not in typed or any(item.lstrip("+").startswith("task=") for item in typed):
        return typed
    with hydra_session():
        tasks = str(read_axes(typed[:1])["task"]).split(",")
    return [*typed, "task=" + ",".join(f"sample_{task.strip()}" for task in tasks)]
