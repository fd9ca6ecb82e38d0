"""What stands on the screen at the end: one run's outcome, or a sweep's table."""

from collections import Counter
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from krona.jobs import Job, State
from krona.results import Result, unpack_outcomes

HEADINGS = {"glue": "GLUE", "sample": "sample data (not GLUE)", "own": "own data"}


def run_summary(job: Job, console: Console) -> None:
    """One run: score, parameters, time, memory, where everything lies."""
    result = job.result
    if result is None or result.dev is None:
        return
    lines = [
        f"test {_test_score(result, result.test)}" if result.test else "test not scored (score_test=false)",
        f"dev {result.dev['score']:.2f} at epoch {result.best_epoch}; {result.trainable_params:,} parameters "
        f"({result.trainable_percent:.4g} %)",
        f"{result.times['total']:.1f} s ({result.times['train']:.1f} s training, "
        f"{rate(result.times['examples_per_s'])}), peak memory {result.peak_memory['host'] / 2**20:,.0f} MiB",
        f"{job.folder / 'result.json'}",
        f"next: krona report --where task={result.task}   (or krona diff {result.run_id} ANOTHER_RUN)",
    ]
    for line in lines:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


def rate(examples_per_s: float) -> str:
    """``202 examples/s``, ``0.46 examples/s``."""
    return f"{examples_per_s:,.0f} examples/s" if examples_per_s >= 10 else f"{examples_per_s:.2g} examples/s"


def _test_score(result: Result, test: dict[str, Any]) -> str:
    """The score with the test set's own bootstrap interval: what it owes to which examples are in the set."""
    from krona.report.measures import encode
    from krona.report.selection import label_ids, metrics_of
    from krona.report.statistics import bootstrap, interval_of

    task = result.config["task"]
    answers = encode(*unpack_outcomes(test["outcomes"]), label_ids(task))
    low, high = interval_of(bootstrap([answers], metrics_of(task)))
    parts = ", ".join(f"{name} {value:.2f}" for name, value in test["parts"].items())
    rows = f"{result.splits['test']['rows']:,} rows of {heading(result)}"
    return f"{test['score']:.2f} [{low:.1f}, {high:.1f}] ({parts}) on {rows}"


def heading(result: Result) -> str:
    """What a score may be called: GLUE's name only for GLUE's data and pretrained weights."""
    kind = HEADINGS.get(result.provenance.get("data_kind", ""), "unknown data")
    return kind if result.provenance.get("pretrained", True) else f"{kind}, random weights"


def sweep_table(jobs: list[Job], console: Console) -> None:
    """All jobs of a multirun: a table for each kind of data, then where the results lie and what failed."""
    kinds = sorted({heading(job.result) for job in jobs if job.result})
    for kind in kinds:
        rows = [(job.result, job.state) for job in jobs if job.result and heading(job.result) == kind]
        table = Table(title=kind, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("method", "task"):
            table.add_column(name, overflow="fold")
        for name in ("seed", "dev", "test", "params", "seconds"):
            table.add_column(name, justify="right")
        table.add_column("state")
        for result, state in sorted(rows, key=lambda row: (row[0].task, row[0].method, row[0].seed)):
            table.add_row(*_row(result), state)
        console.print(table)
    for path in sorted({str(job.folder / "result.json") for job in jobs if job.result}):
        console.print(path, highlight=False, markup=False, soft_wrap=True)
    counts = Counter(job.state for job in jobs)
    words: dict[State, str] = {
        "done": "run",
        "skipped": "done already",
        "failed": "failed",
        "elsewhere": "running elsewhere",
    }
    console.print(", ".join(f"{counts[state]} {word}" for state, word in words.items() if counts[state]))
    for job in jobs:
        if job.error:
            console.print(f"{job.run_id}: {job.error}", highlight=False, markup=False, soft_wrap=True)


def _row(result: Result) -> list[str]:
    scores = [f"{part['score']:.2f}" if part else "" for part in (result.dev, result.test)]
    total = result.times.get("total")
    return [
        result.method,
        result.task,
        str(result.seed),
        *scores,
        f"{result.trainable_params:,}" if result.trainable_params is not None else "",
        f"{total:.1f}" if total is not None else "",
    ]
