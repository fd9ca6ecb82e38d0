"""Show the states of all runs in a sweep or in the outputs folder (`krona list`)."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, get_args

from rich.console import Console
from rich.text import Text

from krona.formatting import below, duration, say, table, terminal_width
from krona.messages import KronaError, plural
from krona.runs.choose import filter_runs, filter_value
from krona.runs.folder import RunFolder, RunState
from krona.runs.frame import stored_results
from krona.runs.result import Result, State
from krona.runs.sweep import command_file, load_command

OPEN: tuple[State, ...] = ("waiting", "running", "interrupted")  # states of a run that is not finished
BAD: tuple[State, ...] = ("failed", "damaged", "wrong")
MAX_ROWS = 50  # maximum number of rows on a terminal; if there are more runs, the table omits finished runs
COLOURS: dict[str, str] = {"done": "green", "running": "cyan", "interrupted": "yellow"} | dict.fromkeys(BAD, "red")
# Groups of config keys. Runs with equal values of all keys of a group take similar times. The first group is the best
# for estimating the time of a run.
GROUPS = (("method", "task", "backbone"), ("task", "backbone"), ("backbone",))
KEYS = ("method", "task", "seed", "state", "run")


def find_runs(sweep: str | None, where: Sequence[str], outputs: Path) -> list[RunState]:
    """Return the runs of a sweep, or all runs, that meet the conditions ``where`` (`filter_runs`).

    Raises:
        KronaError: no run was found.
    """
    if sweep is None:
        runs = all_runs(outputs)
    else:
        from krona.sweeps.plan import list_states  # imported here because it imports Hydra, which takes 0.3 s

        runs = list_states(load_command(outputs, sweep), outputs=outputs, source=command_file(outputs, sweep))
    if not runs:
        raise KronaError(f"{outputs} has no runs yet. Start a run with: krona train profile=demo")
    runs = filter_runs(runs, where, _filter_value, KEYS)
    if not runs:
        raise KronaError(f"No run has {' and '.join(where)}.")
    return runs


def all_runs(outputs: Path) -> list[RunState]:
    """Return every run in a folder with its state. A result that cannot be read is ``damaged``."""
    runs = []
    for item in stored_results(outputs):
        folder = outputs / item.run_id
        if not isinstance(item, Result):
            runs.append(RunState(item.run_id, "damaged", folder, error=str(item)))
        elif item.status == "done":
            runs.append(RunState(item.run_id, "done", folder, item))
        else:
            runs.append(RunFolder(folder).state())
    return runs


def _filter_value(run: RunState, key: str) -> str | None:
    config = run.config if run.result is None else run.result.config
    if config is None:  # the config is invalid, and the id consists of the overrides
        config = dict(item.split("=", 1) for item in run.run_id.split() if "=" in item)
    return filter_value(run.run_id, run.state, config, key)


def show(runs: Sequence[RunState], console: Console, *, outputs: Path, most: int = MAX_ROWS) -> None:
    """Print a table of the runs, the number of runs in each state, and the errors.

    A terminal shows at most ``most`` runs. If the output is not a terminal, the table contains all runs, and each run
    takes one line.
    """
    width = terminal_width(console)
    say(console, _table(runs, width, most if width is not None else len(runs)))
    say(console, "")
    left = seconds_left(runs, outputs)
    say(console, count_states(runs) + ("" if left is None else f"; about {duration(left)} left in one process"))
    bad = [run for run in runs if run.state in BAD and run.error]
    lines = [f"{run.run_id}: {run.error}" for run in bad]
    if any(run.state == "failed" for run in bad):
        lines.append(
            "To repeat a failed run, run its command again (with -m: add retry=failed). If its data have changed, the "
            "command starts a new run and keeps the failed run."
        )
    own = [run for run in bad if RunFolder(run.folder).is_written_by_krona()]
    if any(run.state == "damaged" for run in own):
        lines.append("To repeat a damaged run, remove it, then run its command again.")
    if own:
        lines.append(f"To remove these runs: rm -r {shlex.join(below(run.folder) for run in own)}")
    for line in lines:
        say(console, line, wrap=False)


def count_states(runs: Sequence[RunState]) -> str:
    """Return a text such as ``12 runs: 9 done, 1 running, 2 waiting``."""
    counts = Counter(run.state for run in runs)
    return f"{plural(len(runs), 'run')}: " + ", ".join(
        f"{counts[state]} {state}" for state in get_args(State) if counts[state]
    )


def seconds_left(runs: Sequence[RunState], outputs: Path) -> float | None:
    """Estimate the seconds that the unfinished runs will take, from the times of the finished runs in ``outputs``.

    The estimate for a run is the median time of the finished runs in the first of its `GROUPS` that has finished runs,
    multiplied by the share of the run's steps that are left. Return None if all runs are finished, or if there is no
    such group for an unfinished run.
    """
    unfinished = [run for run in runs if run.state in OPEN]
    if not unfinished:
        return None
    planned = any(run.config is not None for run in unfinished)  # if false, ``runs`` are all runs in ``outputs``
    results = stored_results(outputs) if planned else [run.result for run in runs]
    times: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for result in results:
        if isinstance(result, Result) and result.status == "done" and "total" in result.times:
            for group in _groups(result.config):
                times[group].append(float(result.times["total"]))
    total = 0.0
    for run in unfinished:
        config = run.config if run.result is None else run.result.config
        known = next((times[group] for group in _groups(config or {}) if group in times), None)
        if known is None:
            return None
        progress = run.result.progress if run.result is not None else {}
        done = float(progress.get("step", 0)) / max(1.0, float(progress.get("steps", 1)))
        total += median(known) * (1 - done)
    return total


def _groups(config: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [(*keys, *(str((config.get(key) or {}).get("name", "")) for key in keys)) for keys in GROUPS]


def _table(runs: Sequence[RunState], width: int | None, limit: int) -> Text:
    rows = runs if len(runs) <= limit else [run for run in runs if run.state != "done"][:limit]
    headings = ("run", "state", "progress", "dev", "test", "time")
    cells: list[list[str | Text]] = []
    for run in rows:
        progress = "" if run.result is None or run.result.status == "done" else run.result.reached
        state = Text(run.state, style=COLOURS.get(run.state, ""))
        cells.append([run.run_id, state, progress, *result_cells(run.result)])
    text = table(headings, cells, width=width, left=headings[:3])
    if len(rows) < len(runs):
        text.append(f"\n… and {len(runs) - len(rows)} more", style="dim")
    return text


def result_cells(result: Result | None) -> list[str]:
    """Return the dev score, the test score and the time of a run as cells of a table. Unknown values are empty."""
    if result is None:
        return ["", "", ""]
    dev = result.dev or (result.dev_curve[-1] if result.dev_curve else None)
    scores = [f"{outcome['score']:.2f}" if outcome else "" for outcome in (dev, result.test)]
    return [*scores, duration(result.times["total"]) if "total" in result.times else ""]
