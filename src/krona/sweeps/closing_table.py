"""The end of a multirun on the screen: a table of its jobs, the results' paths, and the next command."""

import re
from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from krona.jobs.job import WORDS, Job
from krona.jobs.summary import heading
from krona.messages import amount, first_few
from krona.outputs import degenerate
from krona.outputs.result import Result
from krona.screen import as_typed, duration, inert, say, table, width_of

OUTCOME = ("dev", "test", "parameters", "time", "state")
LEFT = ("method", "task", "data", "state", "variant")
Described = dict[str, str]  # column → entry


def show(jobs: Sequence[Job], console: Console, *, sweep: str | None = None) -> None:
    """All jobs in order: a row each, a path each, counts, errors and the next command."""
    rows = [_described(job) for job in jobs]
    varying = _columns(rows)
    width = width_of(console)
    say(console, "")
    if title := _title(rows, varying):
        say(console, title)
    cells = [[row.get(name, "") for name in varying] for row in rows]
    say(console, table([_short(name, varying) for name in varying], cells, width=width, left=LEFT))
    say(console, "")
    for job in jobs:
        if job.result is not None:
            console.print(inert(str(job.folder / "result.json")), highlight=False, markup=False, soft_wrap=True)
    counts = Counter(job.state for job in jobs)
    parts = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
    say(console, f"{amount(len(jobs), 'run')}: {parts}")
    for line in (*_warnings(jobs), *_failures(jobs)):
        say(console, line)
    command = as_typed(next_command(jobs, sweep))
    console.print(inert(f"next: {command}"), highlight=False, markup=False, soft_wrap=True)  # whole, to be copied


def next_command(jobs: Sequence[Job], sweep: str | None) -> str:
    """The report of the sweep, the comparison of two runs, or the report of these methods and tasks."""
    done = [job for job in jobs if job.result is not None and job.result.status == "done"]
    if not done:
        return "krona status"
    if sweep is not None:
        return f"krona report --sweep {sweep}"
    if len(done) == 2:
        return f"krona diff {done[0].run_id} {done[1].run_id}"
    results = [job.result for job in done if job.result is not None]
    methods, tasks = (
        ",".join(dict.fromkeys(names)) for names in zip(*((r.method, r.task) for r in results), strict=True)
    )
    return f"krona report --where method={methods} --where task={tasks}"


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
    return figures


def _columns(rows: Sequence[Described]) -> list[str]:
    """What varies, in the order of the command line, and the outcome."""
    names = dict.fromkeys(key for row in rows for key in row)
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


def _warnings(jobs: Sequence[Job]) -> list[str]:
    done = [job.result for job in jobs if job.result is not None and job.result.status == "done"]
    return first_few([f"{result.run_id}: {line}" for result in done for line in degenerate.lines(result)], 5)


def _failures(jobs: Sequence[Job]) -> list[str]:
    lines = [f"{job.run_id}: {job.error}" for job in jobs if job.error]
    if any(job.state == "failed" and job.result is not None for job in jobs):
        lines.append("failed runs: the same command with retry=failed runs them anew")
    return lines
