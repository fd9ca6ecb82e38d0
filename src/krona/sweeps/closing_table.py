"""The end of a multirun on the screen: its jobs, the results' paths, notes, means over seeds, the next command."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from rich.console import Console

from krona.jobs.job import WORDS, Job
from krona.jobs.summary import heading, outputs_option
from krona.messages import amount, first_few
from krona.runs.constant_predictions import remark_lines
from krona.runs.folder import RunFolder
from krona.runs.result import Result
from krona.screen import as_typed, duration, inert, say, table, width_of

BEST = "*"
SPLITS = ("dev", "test")
LEFT = ("method", "task", "data", "state", "variant")
SAME = re.compile(r"'[^']*'|\d[\d.,]*")  # what differs between runs in the same warning


@dataclass(frozen=True, eq=False)
class Row:
    """A job, or the jobs that differ in nothing but the seed: their values on the axes, and their results."""

    values: dict[str, str]
    results: Sequence[Result]

    def scores(self, split: str) -> list[float]:
        return [part["score"] for result in self.results if (part := getattr(result, split))]

    @property
    def split(self) -> str | None:
        """The split whose score counts: test, or dev where test is not scored; None without any score."""
        return next((split for split in reversed(SPLITS) if self.scores(split)), None)

    @property
    def score(self) -> float:
        return mean(self.scores(self.split or "dev"))

    def cells(self, axes: Sequence[str], best: "Sequence[Row]") -> list[str]:
        """The values on the axes and the mean scores; the one that counts is marked in the ``best`` rows."""
        found = [self.values.get(name, "") for name in axes]
        for split in SPLITS:
            scores = self.scores(split)
            text = f"{mean(scores):.2f}" if scores else ""
            text += f" ± {stdev(scores):.2f}" if len(scores) > 1 else ""
            mark = BEST if self in best else " "
            found.append(text + mark if best and split == self.split else text)
        return found

    @property
    def time(self) -> str:
        seconds = [result.times["total"] for result in self.results if "total" in result.times]
        return duration(mean(seconds)) if seconds else ""

    @property
    def parameters(self) -> str:
        counts = [result.trainable_params for result in self.results]
        return f"{counts[0]:,}" if counts and counts[0] is not None else ""


def show(jobs: Sequence[Job], console: Console, *, sweep: str, named: bool = True) -> None:
    """All jobs in order: a row each, a path each, counts, errors, notes, means and the next command.

    ``sweep``: its name; not ``named``: krona made it up.
    """
    rows = [_row(job) for job in jobs]
    axes = _varying(rows)
    means = _over_seeds(rows, axes)
    best = _best(means or rows)
    width = width_of(console)
    say(console, "")
    if title := _title(rows, axes):
        say(console, title)
    several = len({row.parameters for row in rows}) > 1
    cells = [
        [*row.cells(axes, [] if means else best), row.parameters if several else "", row.time, WORDS[job.state]]
        for row, job in zip(rows, jobs, strict=True)
    ]
    say(console, table([*_short(axes), *SPLITS, "parameters", "time", "state"], cells, width=width, left=LEFT))
    say(console, "")
    for job in jobs:
        if job.result is not None:
            console.print(inert(str(RunFolder(job.folder).result)), highlight=False, markup=False, soft_wrap=True)
    for line in (_counts(jobs), *_warnings(jobs), *_notes(jobs), *_failures(jobs)):
        say(console, line)
    if means:
        axes = [name for name in axes if name != "seed"]
        cells = [[*row.cells(axes, best), str(len(row.results)), row.time] for row in means]
        say(console, "")
        say(console, table([*_short(axes), *SPLITS, "seeds", "time"], cells, width=width, left=LEFT))
    if legend := ["mean ± standard deviation over seeds"] * bool(means) + [f"{BEST} best on its task"] * bool(best):
        say(console, "; ".join(legend))
    command = as_typed(next_command(jobs, sweep, named=named))
    console.print(f"next: {command}", highlight=False, markup=False, soft_wrap=True)  # whole, to be copied


def next_command(jobs: Sequence[Job], sweep: str, *, named: bool = True) -> str:
    """The report of the sweep, or the comparison of two runs where the user gave it no name."""
    done = [job for job in jobs if job.result is not None and job.result.status == "done"]
    if not done:
        return "krona status"
    there = outputs_option(done[0])
    if len(done) == 2 and not named:
        return f"krona diff {done[0].run_id} {done[1].run_id}{there}"
    return f"krona report --sweep {sweep}{there}"


def _row(job: Job) -> Row:
    pairs = (override.lstrip("+~").partition("=") for override in job.overrides)
    values = {key: _value(value) for key, _, value in pairs}
    result = job.result
    if result is None:
        return Row(values, ())
    values |= {"method": result.method, "task": result.task, "seed": str(result.seed), "data": heading(result)}
    return Row(values, (result,))


def _value(text: str) -> str:
    """A shape as ``32x24``, anything else as in the override."""
    shape = re.match(r"\[\[(\d+), ?(\d+)\]", text)
    return f"{shape[1]}x{shape[2]}" if shape else text.strip("'\"")


def _varying(rows: Sequence[Row]) -> list[str]:
    """The axes on which the rows differ, in the order of the command line."""
    names = dict.fromkeys(name for row in rows for name in row.values)
    return [name for name in names if len({row.values.get(name) for row in rows}) > 1]


def _short(names: Sequence[str]) -> list[str]:
    """The last part of each dotted key, if no other one ends in it."""
    last = [name.rsplit(".", 1)[-1] for name in names]
    return [short if last.count(short) == 1 else name for name, short in zip(names, last, strict=True)]


def _title(rows: Sequence[Row], axes: Sequence[str]) -> str:
    """What all rows share."""
    done = [row for row in rows if row.results]
    parts = [done[0].values[name] for name in ("method", "task", "data") if name not in axes] if done else []
    counts = {row.parameters for row in done}
    return ", ".join([*parts, *[f"{count} parameters train" for count in counts if count and len(counts) == 1]])


def _over_seeds(rows: Sequence[Row], axes: Sequence[str]) -> list[Row]:
    """The rows of each setting of the ``axes`` as one; empty if no setting has several seeds."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.split is not None:
            key = tuple(row.values.get(name, "") for name in axes if name != "seed")
            groups.setdefault(key, []).append(row)
    if all(len({row.values["seed"] for row in group}) < 2 for group in groups.values()):
        return []
    return [Row(group[0].values, [row.results[0] for row in group]) for group in groups.values()]


def _best(rows: Sequence[Row]) -> list[Row]:
    """The rows with the highest score of their task and data, where there are several."""
    tasks: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.split is not None:
            tasks.setdefault((row.values["task"], row.values["data"]), []).append(row)
    best = []
    for group in tasks.values():
        top = max(row.score for row in group)
        if any(row.score < top for row in group):
            best += [row for row in group if row.score == top]
    return best


def _counts(jobs: Sequence[Job]) -> str:
    counts = Counter(job.state for job in jobs)
    parts = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
    anew = "; overwrite=true runs anew what was done already" if counts["skipped"] else ""
    return f"{amount(len(jobs), 'run')}: {parts}{anew}"


def _warnings(jobs: Sequence[Job]) -> list[str]:
    """Each warning once: in the words of its first run, with the number of runs that have it."""
    done = [job.result for job in jobs if job.result is not None and job.result.status == "done"]
    alike: dict[str, list[str]] = {}
    for result in done:
        for line in remark_lines(result):
            alike.setdefault(SAME.sub("", line), []).append(f"{result.run_id}: {line}")
    lines = [
        found[0] if len(found) == 1 else f"{len(found)} of {amount(len(jobs), 'run')}, as {found[0]}"
        for found in alike.values()
    ]
    return first_few(lines, 5)


def _notes(jobs: Sequence[Job]) -> list[str]:
    """Each note of the runs once, with the number of runs that it concerns."""
    counts: Counter[str] = Counter()
    for job in jobs:
        if job.result is not None:
            # a message after the first says that the code has changed
            counts.update(list(dict.fromkeys([*job.result.notes, *job.messages[1:]])))
    runs = amount(len(jobs), "run")
    return first_few([f"note ({count} of {runs}): {note}" for note, count in counts.items()], 5)


def _failures(jobs: Sequence[Job]) -> list[str]:
    lines = [f"{job.run_id}: {job.error}" for job in jobs if job.error]
    if any(job.state == "failed" and job.result is not None for job in jobs):
        lines.append("failed runs: the same command with retry=failed runs them anew")
    return lines
