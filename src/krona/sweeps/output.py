"""Format the progress lines of a multirun (a command with several jobs), and print its closing table."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import yaml
from rich.console import Console

from krona.formatting import duration, say, table, terminal_width
from krona.messages import first_few, plural
from krona.runs.description import describe_data
from krona.runs.folder import RunFolder, RunState
from krona.runs.provenance import code_change
from krona.runs.run_id import as_text
from krona.runs.suspicious_scores import examine_scores, message_lines
from krona.sweeps.status import count_states, result_cells
from krona.training.summary import low_score, outputs_option

TOTAL = "KRONA_SWEEP_RUNS"  # environment variable with the number of runs of the multirun; child processes inherit it
LEFT_RUNS = "KRONA_SWEEP_LEFT"  # environment variable with the number of its runs that were not finished before
AXES = "KRONA_SWEEP_AXES"  # environment variable with the keys in which the jobs of the multirun differ
NO_SETTING = ("method", "task", "seed")  # fields of the result, which are not settings of its row
LEFT = ("method", "task", "data", "state", "variant")  # columns that are aligned left
DIFFERENT = re.compile(r"'[^']*'|\d[\d.,]*")  # quoted words and numbers, which are ignored when warnings are compared
MAX_LINES = 5  # maximum number of warnings and maximum number of notes

finished_seconds: list[float] = []  # the time of each run that this process has finished in the multirun
shown_notes: set[str] = set()  # the notes of the first of these runs, which were printed when the run started


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


def progress_line(run: RunState, number: int, *, at_a_time: int | None) -> str:
    """Return a line such as ``3/12  done  ID  dev 61.20  test 58.90  9 s; about 80 s left``.

    Args:
        number: the number of the job, from 0.
        at_a_time: the number of jobs that run at the same time. With None, the line does not show the remaining time.
    """
    line = "  ".join(filter(None, [position(number), _outcome(run)]))
    if run.state == "done" and run.result is not None:
        shown_notes.update(() if finished_seconds else run.result.notes)
        finished_seconds.append(float(run.result.times["total"]))
    left = int(os.environ.get(TOTAL, "0")) - number - 1
    if left <= 0 or at_a_time is None or not finished_seconds:
        return line
    seconds = sum(finished_seconds) / len(finished_seconds) * -(-left // min(at_a_time, left))
    return f"{line}; about {duration(seconds)} left"


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
    """Print a table with a row for each run, the paths of the results, the messages, and the next command."""
    rows = [_values(run) for run in runs]
    names = dict.fromkeys(name for row in rows for name in row)
    axes = [name for name in names if len({row.get(name) for row in rows}) > 1]
    counts = {_parameters(run) for run in runs} - {""}
    finished = [row for row, run in zip(rows, runs, strict=True) if run.result is not None]
    title = [finished[0][name] for name in ("method", "task", "data") if name not in axes] if finished else []
    title += [f"{count} trainable parameters" for count in counts if len(counts) == 1]
    say(console, "")
    if title:
        say(console, ", ".join(title))
    cells = [
        [*(row.get(name, "") for name in axes), *result_cells(run.result), _parameters(run) if len(counts) > 1 else "",
         run.state]
        for run, row in zip(runs, rows, strict=True)
    ]  # fmt: skip
    last = [name.rsplit(".", 1)[-1] for name in axes]
    keys = [short if last.count(short) == 1 else name for name, short in zip(axes, last, strict=True)]
    headings = [*keys, "dev", "test", "time", "parameters", "state"]
    say(console, table(headings, cells, width=terminal_width(console), left=LEFT))
    say(console, "")
    for run in runs:
        if run.result is not None:
            say(console, str(RunFolder(run.folder).result), wrap=False)
    for line in (_counts(runs), *_warnings(runs), *_notes(runs), *_failures(runs)):
        say(console, line)
    done = _done_runs(runs)
    is_table = re.fullmatch("table[0-9]+", sweep)  # as an argument, this name selects a table of the paper
    report = f"krona report {'--sweep ' if is_table else ''}{shlex.quote(sweep)}"
    command = f"{report}{outputs_option(done[0])}" if done else "krona list"
    say(console, f"next: {command}", wrap=False)


def _outcome(run: RunState) -> str:
    result = run.result
    if run.error is not None or result is None:
        return f"{run.state}  {run.run_id}: {run.error!s}"
    scores = [
        f"{name} {outcome['score']:.2f}" for name, outcome in (("dev", result.dev), ("test", result.test)) if outcome
    ]
    return "  ".join([run.state, run.run_id, *scores, duration(result.times["total"])])


def _values(run: RunState) -> dict[str, str]:
    pairs = (override.lstrip("+~").partition("=") for override in run.overrides)
    values = {  # factor shapes such as [[32,24]] are shown as 32x24
        key: as_text(yaml.safe_load(value)) if value.startswith("[[") else value.strip("'\"") for key, _, value in pairs
    }
    if (result := run.result) is not None:
        values |= {
            "method": result.method,
            "task": result.task,
            "seed": str(result.seed),
            "data": describe_data(result),
        }
    return values


def _parameters(run: RunState) -> str:
    return "" if run.result is None or run.result.trainable_params is None else f"{run.result.trainable_params:,}"


def _done_runs(runs: Iterable[RunState]) -> list[RunState]:
    return [run for run in runs if run.result is not None and run.result.status == "done"]


def _counts(runs: Sequence[RunState]) -> str:
    again = any(run.state == "done already" for run in runs)
    return count_states(runs) + ". To run finished runs again, add overwrite=true" * again


def _warnings(runs: Sequence[RunState]) -> list[str]:
    lines: list[tuple[RunState, str]] = []
    for run in _done_runs(runs):
        assert run.result is not None
        lines += [(run, line) for line in message_lines(run.result, examine_scores(run.result, run.folder)[1])]
    return _group(lines, runs)


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


def _notes(runs: Sequence[RunState]) -> list[str]:
    counts: Counter[str] = Counter()
    for run in runs:
        if run.result is not None:
            counts.update(list(dict.fromkeys([*run.result.notes, *run.messages])))
    counts = Counter({note: count for note, count in counts.items() if note not in shown_notes})
    total = plural(len(runs), "run")
    return first_few([f"note ({count} of {total}): {note}" for note, count in counts.items()], MAX_LINES)


def _failures(runs: Sequence[RunState]) -> list[str]:
    lines = _group([(run, run.error) for run in runs if run.error], runs)
    if any(run.result is not None and run.result.status == "failed" for run in runs):
        lines.append("To run failed runs again, add retry=failed to the same command.")
    return lines
