"""Print the closing table of a multirun (a command with several jobs).

It shows the jobs, the paths of their results, warnings, and a command that the user may need next.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console

from krona.formatting import as_typed, duration, escape, say, table, terminal_width
from krona.jobs.job import WORDS, Job
from krona.jobs.summary import heading, outputs_option
from krona.messages import amount, first_few
from krona.runs.constant_predictions import remark_lines
from krona.runs.folder import RunFolder
from krona.runs.result import Result

BEST = "*"
SPLITS = ("dev", "test")
LEFT = ("method", "task", "data", "state", "variant")  # columns that are aligned left
DIFFERENT = re.compile(r"'[^']*'|\d[\d.,]*")  # quoted words and numbers, which are ignored when warnings are compared
MAX_LINES = 5  # maximum number of warnings, and of notes


@dataclass(frozen=True, eq=False)
class JobRow:
    """A row of the closing table: a dict from each swept key to the value of a job, and the result of the job."""

    values: dict[str, str]
    result: Result | None

    @classmethod
    def of_job(cls, job: Job) -> "JobRow":
        pairs = (override.lstrip("+~").partition("=") for override in job.overrides)
        values = {key: _format_value(value) for key, _, value in pairs}
        if (result := job.result) is not None:
            values |= {"method": result.method, "task": result.task, "seed": str(result.seed), "data": heading(result)}
        return cls(values, result)

    def score(self, split: str) -> float | None:
        part = getattr(self.result, split, None)
        return None if part is None else float(part["score"])

    @property
    def split(self) -> str | None:
        """The split by which rows are compared: test, or dev if test is not scored. It is None without a score."""
        return next((split for split in reversed(SPLITS) if self.score(split) is not None), None)

    @property
    def time(self) -> str:
        seconds = None if self.result is None else self.result.times.get("total")
        return "" if seconds is None else duration(seconds)

    @property
    def parameters(self) -> str:
        count = None if self.result is None else self.result.trainable_params
        return "" if count is None else f"{count:,}"

    def cells(self, axes: Sequence[str], best: "Sequence[JobRow]") -> list[str]:
        """Return the cells of the row: its value of each swept key, and its score on each split.

        If the row is one of the ``best`` rows, its score on `split` is marked.
        """
        cells = [self.values.get(name, "") for name in axes]
        for split in SPLITS:
            score = self.score(split)
            mark = BEST if self in best else " "
            text = "" if score is None else f"{score:.2f}"
            cells.append(text + mark if best and split == self.split else text)
        return cells


def show(jobs: Sequence[Job], console: Console, *, sweep: str, named: bool = True) -> None:
    """Print the closing table of a multirun.

    The output contains a table with a row for each job, the paths of the results and the number of jobs in each state.
    Warnings, notes, errors and the next command follow. If there are several seeds, no run is marked as the best.

    Args:
        jobs: the jobs of the multirun in their order.
        console: the console to print to.
        sweep: the name of the sweep.
        named: whether the user chose this name.
    """
    rows = [JobRow.of_job(job) for job in jobs]
    names = dict.fromkeys(name for row in rows for name in row.values)
    axes = [name for name in names if len({row.values.get(name) for row in rows}) > 1]
    best = [] if "seed" in axes else _best_rows(rows)
    width = terminal_width(console)
    say(console, "")
    if title := _title(rows, axes):
        say(console, title)
    several = len({row.parameters for row in rows}) > 1
    cells = [
        [*row.cells(axes, best), row.parameters if several else "", row.time, WORDS[job.state]]
        for row, job in zip(rows, jobs, strict=True)
    ]
    headings = [*_shorten_keys(axes), *SPLITS]
    say(console, table([*headings, "parameters", "time", "state"], cells, width=width, left=LEFT))
    say(console, "")
    for job in jobs:
        if job.result is not None:
            console.print(escape(str(RunFolder(job.folder).result)), highlight=False, markup=False, soft_wrap=True)
    for line in (_counts(jobs), *_warnings(jobs), *_notes(jobs), *_failures(jobs)):
        say(console, line)
    if best:
        say(console, f"{BEST} highest on its task, not tested")
    command = as_typed(next_command(jobs, sweep, named=named))
    console.print(f"next: {command}", highlight=False, markup=False, soft_wrap=True)  # one line is easy to copy


def next_command(jobs: Sequence[Job], sweep: str, *, named: bool = True) -> str:
    """Return the command that the user will probably need next.

    If exactly two runs of an unnamed sweep are done, the command compares them. If no run is done, the command shows
    the status. Otherwise, the command prints the report of the sweep.
    """
    done = _done_jobs(jobs)
    if not done:
        return "krona status"
    option = outputs_option(done[0])
    if len(done) == 2 and not named:
        return f"krona diff {done[0].run_id} {done[1].run_id}{option}"
    return f"krona report --sweep {sweep}{option}"


def _done_jobs(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if job.result is not None and job.result.status == "done"]


def _format_value(text: str) -> str:
    """Format a list that begins with a shape as ``32x24``. Return any other value without its quotation marks."""
    shape = re.match(r"\[\[(\d+), ?(\d+)\]", text)
    return f"{shape[1]}x{shape[2]}" if shape else text.strip("'\"")


def _shorten_keys(names: Sequence[str]) -> list[str]:
    """Shorten each dotted key to its last part, unless another key has the same last part."""
    last = [name.rsplit(".", 1)[-1] for name in names]
    return [short if last.count(short) == 1 else name for name, short in zip(names, last, strict=True)]


def _title(rows: Sequence[JobRow], axes: Sequence[str]) -> str:
    """Return the method, task, data and number of parameters as text, without values that differ between the rows."""
    done = [row for row in rows if row.result is not None]
    parts = [done[0].values[name] for name in ("method", "task", "data") if name not in axes] if done else []
    counts = {row.parameters for row in done}
    return ", ".join([*parts, *[f"{count} trainable parameters" for count in counts if count and len(counts) == 1]])


def _best_rows(rows: Sequence[JobRow]) -> list[JobRow]:
    """Return the rows with the highest score on each task, data set and number of training rows.

    If all rows with the same task, data set and number have the same score, none of these rows is included.
    """
    groups: dict[tuple[str, str, int | None], list[tuple[float, JobRow]]] = {}
    for row in rows:
        if row.result is not None and row.split is not None and (score := row.score(row.split)) is not None:
            trained = row.result.config["data"].get("train_rows")
            groups.setdefault((row.values["task"], row.values["data"], trained), []).append((score, row))
    best = []
    for group in groups.values():
        top = max(score for score, _ in group)
        if any(score < top for score, _ in group):
            best += [row for score, row in group if score == top]
    return best


def _counts(jobs: Sequence[Job]) -> str:
    counts = Counter(job.state for job in jobs)
    parts = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
    again = ". To run finished runs again, add overwrite=true" if counts["skipped"] else ""
    return f"{amount(len(jobs), 'run')}: {parts}{again}"


def _warnings(jobs: Sequence[Job]) -> list[str]:
    """Return a line for each different warning, with the number of runs that have it and one example."""
    equal: dict[str, list[str]] = {}
    for job in _done_jobs(jobs):
        assert job.result is not None
        for line in remark_lines(job.result):
            equal.setdefault(DIFFERENT.sub("", line), []).append(f"{job.result.run_id}: {line}")
    lines = [
        found[0] if len(found) == 1 else f"{len(found)} of {amount(len(jobs), 'run')}, such as {found[0]}"
        for found in equal.values()
    ]
    return first_few(lines, MAX_LINES)


def _notes(jobs: Sequence[Job]) -> list[str]:
    """Return a line for each different note, with the number of runs that have it."""
    counts: Counter[str] = Counter()
    for job in jobs:
        if job.result is not None:
            # messages after the first warn that the code has changed
            counts.update(list(dict.fromkeys([*job.result.notes, *job.messages[1:]])))
    runs = amount(len(jobs), "run")
    return first_few([f"note ({count} of {runs}): {note}" for note, count in counts.items()], MAX_LINES)


def _failures(jobs: Sequence[Job]) -> list[str]:
    lines = [f"{job.run_id}: {job.error}" for job in jobs if job.error]
    if any(job.state == "failed" and job.result is not None and job.result.status == "failed" for job in jobs):
        lines.append("To run failed runs again, add retry=failed to the same command.")
    return lines
