"""`krona status`: how far runs are, of a sweep or of the whole outputs folder."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from krona.errors import KronaError
from krona.results import Result, read_results
from krona.sweeps import Planned, State, state_of

WATCH_S = 2.0
COLOURS: dict[str, str] = {"done": "green", "running": "cyan", "failed": "red", "wrong": "red", "interrupted": "yellow"}


def all_runs(outputs: Path) -> list[Planned]:
    """Every run of a folder with its state; results that can't be read come as failed, with why."""
    found = []
    for item in read_results(outputs):
        if isinstance(item, Result):
            folder = outputs / item.run_id
            if item.status == "done":
                found.append(Planned((), item.run_id, "done", item))
            else:
                found.append(Planned((), item.run_id, *state_of(folder)))
        else:
            found.append(Planned((), str(item), "wrong", error=str(item)))
    return found


def selected(runs: Sequence[Planned], where: Sequence[str]) -> list[Planned]:
    """The runs for which every ``key=value`` holds: method, task, seed, state, or a part of the run's id as ``run``."""
    kept = list(runs)
    for condition in where:
        key, equals, value = condition.partition("=")
        if not equals or key not in ("method", "task", "seed", "state", "run"):
            raise KronaError(f"--where {condition}: expected method=, task=, seed=, state= or run=")
        kept = [run for run in kept if _holds(run, key, value)]
    return kept


def _holds(run: Planned, key: str, value: str) -> bool:
    if key == "run":
        return value in run.run_id
    if key == "state":
        return run.state == value
    return run.result is not None and str(getattr(run.result, key)) == value


def again(runs: Sequence[Planned], outputs: Path) -> list[Planned]:
    """The same runs as they are now; done ones are not read again."""
    return [
        run if run.state in ("done", "wrong") else Planned(run.overrides, run.run_id, *state_of(outputs / run.run_id))
        for run in runs
    ]


def show(runs: Sequence[Planned], console: Console, *, limit: int = 50) -> None:
    """A table and a line of counts; with more than ``limit`` runs the done ones are only counted."""
    console.print(_table(runs, limit))
    console.print(counts_line(runs), highlight=False, markup=False, soft_wrap=True)
    for run in runs:
        if run.state in ("failed", "wrong") and run.error:
            console.print(f"{run.run_id}: {run.error}", highlight=False, markup=False, soft_wrap=True)


def watch(runs: Sequence[Planned], refresh: Callable[[Sequence[Planned]], list[Planned]], console: Console) -> None:
    """Follow until nothing is running or waiting any more, or Ctrl-C."""
    current = list(runs)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_table(current, 50), refresh=True)
            if not any(run.state in ("running", "waiting", "interrupted") for run in current):
                break
            time.sleep(WATCH_S)
            current = refresh(current)
    console.print(counts_line(current), highlight=False, markup=False)


def counts_line(runs: Sequence[Planned]) -> str:
    """``12 runs: 9 done, 1 running, 2 waiting; about 3 min left``, from the times of those that are done."""
    counts = Counter(run.state for run in runs)
    order: tuple[State, ...] = ("done", "running", "interrupted", "waiting", "failed", "wrong")
    line = f"{len(runs)} runs: " + ", ".join(f"{counts[state]} {state}" for state in order if counts[state])
    left = seconds_left(runs)
    return line if left is None else f"{line}; about {duration(left)} left in one process"


def seconds_left(runs: Sequence[Planned]) -> float | None:
    """What the runs that are not done will take: each like the done ones of its task and method, or of all."""
    todo = [run for run in runs if run.state in ("waiting", "running", "interrupted")]
    done = [run.result for run in runs if run.state == "done" and run.result is not None]
    times = {(r.method, r.task): r.times.get("total", 0.0) for r in done}
    if not todo or not times:
        return None
    mean = sum(times.values()) / len(times)
    return sum(_cost(run, times, mean) for run in todo)


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _cost(run: Planned, times: dict[tuple[str, str], float], mean: float) -> float:
    chosen = dict(item.split("=", 1) for item in run.overrides if "=" in item)
    whole = times.get((chosen.get("method", ""), chosen.get("task", "")), mean)
    far = run.result.progress if run.result is not None else {}
    done = float(far.get("step", 0)) / max(1.0, float(far.get("steps", 1)))
    return whole * (1 - done)


def _table(runs: Sequence[Planned], limit: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    table.add_column("state")
    for name in ("progress", "dev", "test", "time"):
        table.add_column(name, justify="right")
    shown = runs if len(runs) <= limit else [run for run in runs if run.state != "done"][:limit]
    for run in shown:
        table.add_row(*_row(run))
    if len(shown) < len(runs):
        table.caption = f"{len(runs) - len(shown)} more, not shown"
    return table


def _row(run: Planned) -> list[str]:
    colour = COLOURS.get(run.state)
    state = f"[{colour}]{run.state}[/]" if colour else run.state
    result = run.result
    if result is None:
        return [run.run_id, state, "", "", "", ""]
    progress = result.progress
    far = f"{progress['step']}/{progress['steps']}" if progress else ""
    dev = result.dev["score"] if result.dev else (result.dev_curve[-1]["score"] if result.dev_curve else None)
    test = result.test["score"] if result.test else None
    scores = ["" if score is None else f"{score:.2f}" for score in (dev, test)]
    total = result.times.get("total")
    return [run.run_id, state, far, *scores, "" if total is None else duration(total)]
