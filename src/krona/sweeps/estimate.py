"""Estimate the time of runs from finished runs.

The estimate is the median time of the finished runs with the same method, task and backbone. If no such run exists, the
runs with the same task and backbone are used. If no such run exists either, the runs with the same backbone are used.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.text import Text

from krona.formatting import duration, say, table, terminal_width
from krona.messages import KronaError, amount
from krona.runs.index import summaries
from krona.runs.result import Result
from krona.sweeps.plan import Planned

GROUPS = (("method", "task", "backbone"), ("task", "backbone"), ("backbone",))  # from the most to the least specific


@dataclass(frozen=True, kw_only=True)
class ExpectedRun:
    """An unfinished run and its expected time.

    Attributes:
        seconds: the expected time. It is None if no finished run has the same backbone.
        basis: a description of how ``seconds`` was estimated, for the user.
    """

    overrides: tuple[str, ...]
    method: str
    task: str
    backbone: str
    seconds: float | None
    basis: str


class RunTimes:
    """The times of finished runs, from which the time of other runs is estimated."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for result in results:
            if result.status == "done" and "total" in result.times:
                names = group_names(result.config)
                for same in GROUPS:
                    self._seconds[_key(names, same)].append(float(result.times["total"]))

    def estimate(self, config: Mapping[str, Any]) -> tuple[float | None, str]:
        """Return the expected seconds of a run and a description of how they were estimated.

        The seconds are None if no finished run has the same backbone.
        """
        names = group_names(config)
        for same in GROUPS:
            if seconds := self._seconds.get(_key(names, same)):
                listed = " and ".join(filter(None, (", ".join(same[:-1]), same[-1])))
                return median(seconds), f"the median of {amount(len(seconds), 'finished run')} with the same {listed}"
        return None, f"no finished run has the backbone {names['backbone']}"


def group_names(config: Mapping[str, Any]) -> dict[str, str]:
    """Return a dict with the names of a config's method, task and backbone."""
    return {group: str((config.get(group) or {}).get("name", "")) for group in GROUPS[0]}


def _key(names: Mapping[str, str], same: Sequence[str]) -> tuple[str, ...]:
    return (*same, *(names[group] for group in same))


def expected_runs(runs: Sequence[Planned], times: RunTimes) -> list[ExpectedRun]:
    """Return the unfinished runs with their expected times. Raise `KronaError` for a run that cannot be composed."""
    found = []
    for run in runs:
        if run.state == "done":
            continue
        if run.config is None:
            raise KronaError(f"{' '.join(run.overrides)}: {run.error}")
        seconds, basis = times.estimate(run.config)
        found.append(ExpectedRun(overrides=run.overrides, **group_names(run.config), seconds=seconds, basis=basis))
    return found


def show_plan(planned: Sequence[Planned], *, outputs: Path, as_json: bool) -> None:
    """Print the expected time of the unfinished runs.

    Args:
        planned: all runs of a sweep.
        outputs: the folder that contains the finished runs.
        as_json: whether to print the time of every run as JSON, instead of a table with the times of each task.
    """
    runs = expected_runs(planned, RunTimes(result for result in summaries(outputs) if isinstance(result, Result)))
    done = len(planned) - len(runs)
    known = [run.seconds for run in runs if run.seconds is not None]
    if as_json:
        plan = {"runs": [asdict(run) for run in runs], "done": done, "seconds": sum(known)}
        print(json.dumps(plan, indent=1))
        return
    console = Console()
    by_task: dict[str, list[float | None]] = defaultdict(list)
    for run in runs:
        by_task[run.task].append(run.seconds)
    rows = [(task, str(len(seconds)), *_format_times(seconds)) for task, seconds in by_task.items()]
    say(console, table(("task", "runs", "a run", "all"), rows, width=terminal_width(console), left=("task",)))
    say(console, "")
    more = f" ({done} more {'is' if done == 1 else 'are'} done)" if done else ""
    time = f"about {duration(sum(known))} in one process" if known else "their time is unknown"
    unknown = f", and {len(runs) - len(known)} of unknown time" if 0 < len(known) < len(runs) else ""
    say(console, f"{amount(len(runs), 'run')}{more}: {time}{unknown}")
    for basis, count in Counter(run.basis for run in runs).items():
        say(console, Text(f"- {amount(count, 'run')}: {basis}", style="dim"))


def _format_times(seconds: Sequence[float | None]) -> tuple[str, str]:
    known = [one for one in seconds if one is not None]
    if len(known) < len(seconds):
        return "?", "?"
    return duration(sum(known) / len(known)), duration(sum(known))
