"""Format the progress lines of a multirun (a command with several jobs), and print its closing table."""

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rich.console import Console

from krona.formatting import duration, say, table, terminal_width
from krona.messages import first_few, plural
from krona.runs.description import low_score, outputs_option
from krona.runs.folder import RunFolder, RunState
from krona.runs.provenance import code_change
from krona.runs.suspicious_scores import examine_scores, message_lines
from krona.sweeps.status import count_states, result_cells

TOTAL = "KRONA_SWEEP_RUNS"  # environment variable with the number of runs of the multirun; child processes inherit it
AXES = "KRONA_SWEEP_AXES"  # environment variable with the keys in which the jobs of the multirun differ
NO_SETTING = ("method", "task", "seed")  # fields of the result, which are not settings of its row
LEFT = ("run", "state")  # columns that are aligned left
DIFFERENT = re.compile(r"'[^']*'|\d[\d.,]*")  # quoted words and numbers, which are ignored when warnings are compared
MAX_LINES = 5  # maximum number of lines of each kind of message


finished: list[str] = []  # ids of the runs that this process has trained in the multirun


def position(number: int) -> str:
    """Return the position of a multirun's job, such as ``3/12``, or an empty text if the number of jobs is unknown."""
    total = os.environ.get(TOTAL)
    return f"{number + 1}/{total}" if total else ""


def save_axes(jobs: Sequence[tuple[str, ...]]) -> None:
    """Save the keys in which the jobs of the multirun differ for `varied_settings`, also in child processes.

    The overrides at the same position of all jobs have the same key.
    """
    varied = [overrides[0] for overrides in zip(*jobs, strict=True) if len({*overrides}) > 1]
    os.environ[AXES] = " ".join(item.lstrip("+").partition("=")[0] for item in varied)


def varied_settings(overrides: Iterable[str]) -> dict[str, str]:
    """Return the settings of a job that its multirun varies, and its variant."""
    keys = {"variant", *os.environ.get(AXES, "").split()}.difference(NO_SETTING)
    pairs = [item.lstrip("+").partition("=") for item in overrides]
    return {key: value for key, _, value in pairs if key in keys}


def progress_line(run: RunState, number: int) -> str:
    """Return a line such as ``3/12  done  ID  dev 61.20  test 58.90  9 s``. ``number`` counts the jobs from 0."""
    result = run.result
    if run.state == "done":
        finished.append(run.run_id)
    if run.error is not None or result is None:
        outcome = f"{run.state}  {run.run_id}: {run.error!s}"
    else:
        scores = [f"{name} {each['score']:.2f}" for name, each in (("dev", result.dev), ("test", result.test)) if each]
        outcome = "  ".join([run.state, run.run_id, *scores, duration(result.times["total"])])
    return "  ".join(filter(None, [position(number), outcome]))


def close(before: Sequence[RunState], console: Console, *, sweep: str, min_score: float | None = None) -> int:
    """Print the closing table of a multirun, and return the exit code.

    The exit code is 0 if no score is below ``min_score`` and each run is done, or if another process works on it, and
    otherwise 1.

    The outcomes are read from the folders of the planned runs. The table is therefore complete with any launcher.

    Args:
        before: the planned runs, with their states before the command started.
    """
    runs, earlier = list[RunState](), set[str]()
    for run in map(read_outcome, before):
        is_repeated = run.state == "done" and run.run_id in earlier  # an earlier job of the multirun is the same run
        runs.append(replace(run, state="done already") if is_repeated else run)
        earlier.add(run.run_id)
    show(runs, console, sweep=sweep)
    low = [message for run in runs if (message := low_score(run, min_score))]
    for message in first_few(low, MAX_LINES):
        say(console, message)
    return int(bool(low) or any(run.state not in ("done", "done already", "running") for run in runs))


def read_outcome(before: RunState) -> RunState:
    """Return the state of a planned run after the command. ``before`` is its state before the command started."""
    if before.state == "wrong":
        return before
    now = replace(RunFolder(before.folder).state(), overrides=before.overrides)
    match now.state, now.result:
        case "done", result if result and before.result and before.result.provenance == result.provenance:
            return replace(now, state="done already", messages=code_change(result))
        case "running", _:
            return replace(now, error="another process works on this run")
        case "interrupted", result if result:
            return replace(now, error=f"stopped, {result.reached}. Run the same command again to resume.")
        case "waiting", _:
            return replace(now, error="no result. Its error is above, or in the output of its process.")
    return now


def show(runs: Sequence[RunState], console: Console, *, sweep: str) -> None:
    """Print a table with the differing overrides, the state and the scores of each run, messages, and the next command.

    Messages about scores, notes and errors are printed once for all runs to which they apply.
    """
    common = set(runs[0].overrides).intersection(*(run.overrides for run in runs))
    names = [" ".join(item for item in run.overrides if item not in common) or run.run_id for run in runs]
    cells = [[name, run.state, *result_cells(run.result)] for name, run in zip(names, runs, strict=True)]
    say(console, "")
    say(console, table(("run", "state", "dev", "test", "time"), cells, width=terminal_width(console), left=LEFT))
    say(console, "")
    again = any(run.state == "done already" for run in runs)
    say(console, count_states(runs) + ". To run finished runs again, add overwrite=true" * again)
    done = [(run, run.result) for run in runs if run.result is not None and run.result.status == "done"]
    warnings = [
        (run, line) for run, result in done for line in message_lines(result, examine_scores(result, run.folder)[1])
    ]
    notes = [(run, f"note: {note}") for run, result in done for note in (*result.notes, *run.messages)]
    errors = [(run, run.error) for run in runs if run.error]
    for lines in (warnings, notes, errors):
        for line in _group(lines, runs):
            say(console, line)
    if any(run.result is not None and run.result.status == "failed" for run in runs):
        say(console, "To run failed runs again, add retry=failed to the same command.")
    is_table = re.fullmatch("table[0-9]+", sweep)  # as an argument, this name selects a table of the paper
    report = f"krona report {'--sweep ' if is_table else ''}{shlex.quote(sweep)}"
    say(console, f"next: {report}{outputs_option(done[0][0])}" if done else "next: krona list", wrap=False)


def _group(lines: Sequence[tuple[RunState, str]], runs: Sequence[RunState]) -> list[str]:
    """Return one line per text. Texts that differ only in quoted words and numbers share a line."""
    equal: dict[str, list[str]] = {}
    for run, line in lines:
        equal.setdefault(DIFFERENT.sub("", line), []).append(f"{run.run_id}: {line}")
    grouped = [
        alike[0] if len(alike) == 1 else f"{len(alike)} of {plural(len(runs), 'run')}, such as {alike[0]}"
        for alike in equal.values()
    ]
    return first_few(grouped, MAX_LINES)
