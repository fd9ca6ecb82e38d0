"""The end of a multirun on the screen: its jobs, the results' paths, notes, means over seeds, the next command."""

import re
from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from krona.jobs.job import WORDS, Job
from krona.jobs.summary import heading, outputs_option
from krona.messages import amount, first_few
from krona.outputs import degenerate
from krona.outputs.folder import RunFolder
from krona.outputs.result import Result
from krona.screen import as_typed, duration, inert, say, table, width_of
from krona.sweeps.means import BEST, Described, best_rows, over_seeds

OUTCOME = ("dev", "test", "parameters", "time", "state")
HIDDEN = ("seconds",)
LEFT = ("method", "task", "data", "state", "variant")
SAME = re.compile(r"'[^']*'|\d[\d.,]*")  # what differs between runs in the same warning


def show(jobs: Sequence[Job], console: Console, *, sweep: str, named: bool = True) -> None:
    """All jobs in order: a row each, a path each, counts, errors, notes, means and the next command.

    ``sweep``: its name; not ``named``: krona made it up.
    """
    rows = [_described(job) for job in jobs]
    varying = _columns(rows)
    means = over_seeds(rows, [name for name in varying if name not in OUTCOME])
    width = width_of(console)
    say(console, "")
    if title := _title(rows, varying):
        say(console, title)
    best = [] if means else best_rows(rows)
    cells = [[_marked(row, name, best) for name in varying] for row in rows]
    say(console, table([_short(name, varying) for name in varying], cells, width=width, left=LEFT))
    say(console, "")
    for job in jobs:
        if job.result is not None:
            console.print(inert(str(RunFolder(job.folder).result)), highlight=False, markup=False, soft_wrap=True)
    counts = Counter(job.state for job in jobs)
    parts = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
    anew = "; overwrite=true runs anew what was done already" if counts["skipped"] else ""
    say(console, f"{amount(len(jobs), 'run')}: {parts}{anew}")
    for line in (*_warnings(jobs), *_notes(jobs), *_failures(jobs)):
        say(console, line)
    if means:
        say(console, "")
        names = list(means[0])
        say(console, table([_short(name, names) for name in names], [list(row.values()) for row in means],
                           width=width, left=LEFT))  # fmt: skip
    if legend := _legend(means, best):
        say(console, legend)
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


def _described(job: Job) -> Described:
    """A row of the table: the job's values on the axes, then its outcome."""
    row = {key: _value(value) for key, value in map(_key_and_value, job.overrides)}
    result = job.result
    if result is not None:
        row |= {"method": result.method, "task": result.task, "seed": str(result.seed), "data": heading(result)}
        row |= _figures(result)
    return {**row, "state": WORDS[job.state]}


def _figures(result: Result) -> Described:
    figures = {name: f"{part['score']:.2f}" for name in ("dev", "test") if (part := getattr(result, name))}
    if result.trainable_params is not None:
        figures["parameters"] = f"{result.trainable_params:,}"
    if "total" in result.times:
        figures["time"] = duration(result.times["total"])
        figures["seconds"] = str(result.times["total"])
    return figures


def _columns(rows: Sequence[Described]) -> list[str]:
    """What varies, in the order of the command line, and the outcome."""
    names = dict.fromkeys(key for row in rows for key in row if key not in HIDDEN)
    varying = [name for name in names if len({row.get(name) for row in rows}) > 1 and name not in OUTCOME]
    always = [name for name in OUTCOME if name != "parameters" or len({row.get(name) for row in rows}) > 1]
    return [*varying, *always]


def _title(rows: Sequence[Described], varying: Sequence[str]) -> str:
    """What all rows share."""
    same = next((row for row in rows if "data" in row), {})
    parts = [same[name] for name in ("method", "task", "data") if name in same and name not in varying]
    if "parameters" in same and "parameters" not in varying:
        parts.append(f"{same['parameters']} parameters train")
    return ", ".join(parts)


def _key_and_value(override: str) -> tuple[str, str]:
    key, _, value = override.lstrip("+~").partition("=")
    return key, value


def _value(text: str) -> str:
    """A shape as ``32x24``, anything else as in the override."""
    shape = re.match(r"\[\[(\d+), ?(\d+)\]", text)
    return f"{shape[1]}x{shape[2]}" if shape else text.strip("'\"")


def _short(name: str, names: Sequence[str]) -> str:
    """The last part of a dotted key, if no other column ends in it."""
    last = name.rsplit(".", 1)[-1]
    return last if sum(other.rsplit(".", 1)[-1] == last for other in names) == 1 else name


def _marked(row: Described, name: str, best: Sequence[Described]) -> str:
    scored = "test" if "test" in row else "dev"
    text = row.get(name, "")
    return text if name != scored or not best else f"{text}{BEST if row in best else ' '}"


def _legend(means: Sequence[Described], best: Sequence[Described]) -> str:
    words = ["mean ± standard deviation over seeds"] if means else []
    marked = best or any(BEST in text for row in means for text in row.values())
    return "; ".join([*words, *([f"{BEST} best on its task"] if marked else [])])


def _warnings(jobs: Sequence[Job]) -> list[str]:
    """Each warning once: in the words of its first run, with the number of runs that have it."""
    done = [job.result for job in jobs if job.result is not None and job.result.status == "done"]
    alike: dict[str, list[str]] = {}
    for result in done:
        for line in degenerate.lines(result):
            alike.setdefault(SAME.sub("", line), []).append(f"{result.run_id}: {line}")
    lines = [
        found[0] if len(found) == 1 else f"{len(found)} of {amount(len(jobs), 'run')}, as {found[0]}"
        for found in alike.values()
    ]
    return first_few(lines, 5)


def _notes(jobs: Sequence[Job]) -> list[str]:
    """Each note of the runs once, with the number of runs that it concerns."""
    of_runs = (dict.fromkeys([*job.result.notes, *job.messages[1:]]) for job in jobs if job.result is not None)
    counts = Counter(note for notes in of_runs for note in notes)  # a message after the first: the code has changed
    which = {count: f" ({count} of {amount(len(jobs), 'run')})" if len(jobs) > 1 else "" for count in counts.values()}
    return first_few([f"note{which[count]}: {note}" for note, count in counts.items()], 5)


def _failures(jobs: Sequence[Job]) -> list[str]:
    lines = [f"{job.run_id}: {job.error}" for job in jobs if job.error]
    if any(job.state == "failed" and job.result is not None for job in jobs):
        lines.append("failed runs: the same command with retry=failed runs them anew")
    return lines
