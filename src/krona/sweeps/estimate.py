"""Expected time of runs: the median of finished runs with the same method, task and backbone, or a coarser group."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.text import Text

from krona.messages import KronaError, amount
from krona.runs.index import summaries
from krona.runs.result import Result
from krona.screen import duration, say, table, width_of
from krona.sweeps.plan import Planned

GROUPS = (("method", "task", "backbone"), ("task", "backbone"), ("backbone",))  # from fine to coarse


@dataclass(frozen=True)
class Estimate:
    """The median of ``runs`` finished runs that have the keys ``same`` in common with the expected one."""

    seconds: float
    runs: int
    same: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A run that is not done. ``seconds``: None if no finished run has its backbone."""

    overrides: tuple[str, ...]
    method: str
    task: str
    backbone: str
    seconds: float | None
    basis: str


class Times:
    """The times of finished runs, by group."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for result in results:
            if result.status == "done" and "total" in result.times:
                kind = run_kind(result.config)
                for same in GROUPS:
                    self._seconds[_key(kind, same)].append(float(result.times["total"]))

    def estimate(self, config: Mapping[str, Any]) -> Estimate | None:
        """The expected time of a run; None if no finished run has its backbone."""
        kind = run_kind(config)
        for same in GROUPS:
            if seconds := self._seconds.get(_key(kind, same)):
                return Estimate(median(seconds), len(seconds), same)
        return None


def run_kind(config: Mapping[str, Any]) -> dict[str, str]:
    """The names of a config's method, task and backbone."""
    return {group: str((config.get(group) or {}).get("name", "")) for group in GROUPS[0]}


def _key(kind: Mapping[str, str], same: Sequence[str]) -> tuple[str, ...]:
    return (*same, *(kind[group] for group in same))


def expected_runs(runs: Sequence[Planned], times: Times) -> list[Expected]:
    """The runs that are not done, with their expected times. Raises KronaError for a run that could not be composed."""
    found = []
    for run in runs:
        if run.state == "done":
            continue
        if run.config is None:
            raise KronaError(f"{' '.join(run.overrides)}: {run.error}")
        known = times.estimate(run.config)
        kind = run_kind(run.config)
        found.append(
            Expected(
                overrides=run.overrides,
                **kind,
                seconds=None if known is None else known.seconds,
                basis=f"no finished run has the backbone {kind['backbone']}" if known is None else _basis(known),
            )
        )
    return found


def _basis(known: Estimate) -> str:
    *first, last = known.same
    same = f"{', '.join(first)} and {last}" if first else last
    return f"the median of {amount(known.runs, 'finished run')} with the same {same}"


def show_plan(planned: Sequence[Planned], *, outputs: Path, as_json: bool) -> None:
    """Print the expected time of each task and of all unfinished runs; ``as_json``: every run with its time."""
    times = Times(result for result in summaries(outputs) if isinstance(result, Result))
    runs = expected_runs(planned, times)
    done = len(planned) - len(runs)
    known = [run.seconds for run in runs if run.seconds is not None]
    if as_json:
        plan = {"runs": [asdict(run) for run in runs], "done": done, "seconds": sum(known)}
        print(json.dumps(plan, indent=1))
        return
    console = Console()
    by_task: dict[str, list[Expected]] = defaultdict(list)
    for run in runs:
        by_task[run.task].append(run)
    rows = [_row(task, of_task) for task, of_task in by_task.items()]
    say(console, table(("task", "runs", "a run", "all"), rows, width=width_of(console), left=("task",)))
    say(console, "")
    more = f" ({done} more {'is' if done == 1 else 'are'} done)" if done else ""
    time = f"about {duration(sum(known))} in one process" if known else "their time is unknown"
    unknown = f", and {len(runs) - len(known)} of unknown time" if 0 < len(known) < len(runs) else ""
    say(console, f"{amount(len(runs), 'run')}{more}: {time}{unknown}")
    for basis, count in Counter(run.basis for run in runs).items():
        say(console, Text(f"- {amount(count, 'run')}: {basis}", style="dim"))


def _row(task: str, runs: Sequence[Expected]) -> tuple[str, ...]:
    known = [run.seconds for run in runs if run.seconds is not None]
    if len(known) < len(runs):
        return task, str(len(runs)), "?", "?"
    return task, str(len(runs)), duration(sum(known) / len(known)), duration(sum(known))
