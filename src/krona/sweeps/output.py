"""Format the progress lines of a multirun (a command with several jobs), and print its closing table."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rich.console import Console

from krona.formatting import as_typed, duration, say, scores, table, terminal_width
from krona.messages import amount, first_few
from krona.runs.folder import RunFolder
from krona.runs.suspicious_scores import remark_lines
from krona.training.jobs.job import WORDS, Job
from krona.training.jobs.summary import heading, outputs_option

LEFT = ("method", "task", "data", "state", "variant")  # columns that are aligned left
DIFFERENT = re.compile(r"'[^']*'|\d[\d.,]*")  # quoted words and numbers, which are ignored when warnings are compared
MAX_LINES = 5  # maximum number of warnings, and of notes


@dataclass
class SweepProgress:
    """A counter of the jobs of a multirun. ``at_a_time`` jobs run at the same time."""

    # the counter of this process; None in a single run, or if the sweeper does not tell the number of jobs
    current: ClassVar["SweepProgress | None"] = None
    total: int
    at_a_time: int = 1
    started: int = 0
    ended: int = 0
    seconds: list[float] = field(default_factory=list)  # the times of the finished jobs

    def start_line(self, name: str) -> str:
        """Count a job that starts, and return a line such as ``3/12  NAME starts``."""
        self.started += 1
        return f"{self.started}/{self.total}  {name} starts"

    def end_line(self, job: Job) -> str:
        """Count a job that ended, and return ``3/12  done  ID  dev 61.20  test 58.90  9 s; about 80 s left``."""
        self.ended += 1
        if job.state == "done" and job.result is not None:
            self.seconds.append(float(job.result.times["total"]))
        left = self.seconds_left
        return f"{self.ended}/{self.total}  {_outcome(job)}" + (f"; about {duration(left)} left" if left else "")

    @property
    def seconds_left(self) -> float | None:
        """The remaining seconds by the mean time of finished jobs, or None before the first and after the last job."""
        left = self.total - self.ended
        if not self.seconds or not left:
            return None
        return sum(self.seconds) / len(self.seconds) * -(-left // min(self.at_a_time, left))


def show(jobs: Sequence[Job], console: Console, *, sweep: str, named: bool = True) -> None:
    """Print a table with a row for each job, the paths of the results, the messages of the jobs and the next command.

    ``named`` is whether the user chose the name ``sweep``.
    """
    rows = [_values(job) for job in jobs]
    names = dict.fromkeys(name for row in rows for name in row)
    axes = [name for name in names if len({row.get(name) for row in rows}) > 1]
    measures = [_measures(job) for job in jobs]
    counts = {parameters for _, _, parameters, _ in measures} - {""}
    finished = [row for row, job in zip(rows, jobs, strict=True) if job.result is not None]
    title = [finished[0][name] for name in ("method", "task", "data") if name not in axes] if finished else []
    title += [f"{count} trainable parameters" for count in counts if len(counts) == 1]
    say(console, "")
    if title:
        say(console, ", ".join(title))
    cells = [
        [*(row.get(name, "") for name in axes), dev, test, count if len(counts) > 1 else "", time, WORDS[job.state]]
        for job, row, (dev, test, count, time) in zip(jobs, rows, measures, strict=True)
    ]
    headings = [*_shorten_keys(axes), "dev", "test", "parameters", "time", "state"]
    say(console, table(headings, cells, width=terminal_width(console), left=LEFT))
    say(console, "")
    for job in jobs:
        if job.result is not None:
            say(console, str(RunFolder(job.folder).result), wrap=False)
    for line in (_counts(jobs), *_warnings(jobs), *_notes(jobs), *_failures(jobs)):
        say(console, line)
    say(console, f"next: {as_typed(next_command(jobs, sweep, named=named))}", wrap=False)


def _outcome(job: Job) -> str:
    result = job.result
    if job.error is not None or result is None:
        return f"{WORDS[job.state]}  {job.run_id}: {job.error}"
    dev, test = (part["score"] if part else None for part in (result.dev, result.test))
    return "  ".join([WORDS[job.state], job.run_id, scores(dev, test), duration(result.times["total"])])


def _values(job: Job) -> dict[str, str]:
    pairs = (override.lstrip("+~").partition("=") for override in job.overrides)
    values = {key: _format_value(value) for key, _, value in pairs}
    if (result := job.result) is not None:
        values |= {"method": result.method, "task": result.task, "seed": str(result.seed), "data": heading(result)}
    return values


def _measures(job: Job) -> list[str]:
    if (result := job.result) is None:
        return [""] * 4
    scores = [f"{part['score']:.2f}" if part else "" for part in (result.dev, result.test)]
    parameters = "" if result.trainable_params is None else f"{result.trainable_params:,}"
    return [*scores, parameters, duration(result.times["total"]) if "total" in result.times else ""]


def next_command(jobs: Sequence[Job], sweep: str, *, named: bool = True) -> str:
    """Return the command that the user will probably need next.

    If exactly two runs of an unnamed sweep are done, and their task is the same, the command compares them. If no run
    is done, the command shows the status. Otherwise, the command prints the report of the sweep.
    """
    done = _done_jobs(jobs)
    if not done:
        return "krona status"
    option = outputs_option(done[0])
    if len(done) == 2 and not named and len({job.result.task for job in done if job.result is not None}) == 1:
        return f"krona diff {done[0].run_id} {done[1].run_id}{option}"
    return f"krona report --sweep {shlex.quote(sweep)}{option}"


def _done_jobs(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if job.result is not None and job.result.status == "done"]


def _format_value(text: str) -> str:
    """Format a list that begins with a shape as ``32x24``. Return any other value without its quotation marks."""
    shape = re.match(r"\[\[(\d+), ?(\d+)\]", text)
    return f"{shape[1]}x{shape[2]}" if shape else text.strip("'\"")


def _shorten_keys(names: Sequence[str]) -> list[str]:
    last = [name.rsplit(".", 1)[-1] for name in names]
    return [short if last.count(short) == 1 else name for name, short in zip(names, last, strict=True)]


def _counts(jobs: Sequence[Job]) -> str:
    counts = Counter(job.state for job in jobs)
    parts = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
    again = ". To run finished runs again, add overwrite=true" if counts["skipped"] else ""
    return f"{amount(len(jobs), 'run')}: {parts}{again}"


def _warnings(jobs: Sequence[Job]) -> list[str]:
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
