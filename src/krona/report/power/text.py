"""`krona power` as tables for a terminal, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from krona.messages import amount
from krona.metrics.power import LEVEL, MOST_SEEDS, POWER, Assumed, Errors
from krona.paper import METHOD_LABELS, TASK_LABELS
from krona.report.power.printed import Printed
from krona.report.power.smallest import Smallest
from krona.screen import Cell, say, table, width_of

NOTHING = "—"
METRICS = {"f1": "F1", "matthews": "Matthews", "correlation": "Pearson/Spearman"}


def show(
    rows: Sequence[Smallest], pairs: Sequence[Printed], assumed: Assumed, *, number: str, difference: float | None,
    console: Console,
) -> None:  # fmt: skip
    """Both tables, each with what its columns mean."""
    width = width_of(console)
    say(
        console,
        "The smallest true difference that the paired test finds (power 80 %, level 5 %, two-sided), in points\n",
    )
    say(console, table(*_smallest(rows, difference), width=width, left=("task", "metric")))
    say(
        console,
        f"\nAssumed: {assumed.unshared:.0%} of two methods' errors are made by one alone (--unshared); of these"
        f" {assumed.lasting:.0%} are the same under every seed (--lasting), which more seeds do not remove."
        " Matthews and F1: as if errors fell equally often on both classes. STS-B: Steiger's formula.",
    )
    if pairs:
        what = "test" if number != "9" else "dev"
        say(console, f"\nTable {number}'s printed differences, each between single runs on one {what} set\n")
        headings = ["task", "better", "other", "points", "examples", "p, best case", "p, realistic"]
        cells: list[list[Cell]] = [[_task(pair.task), *_named(pair), *_numbers(pair)] for pair in pairs]
        say(console, table(headings, cells, width=width, left=("task", "better", "other")))
        say(console, f"\n{_summary(pairs)}")


def as_json(
    rows: Sequence[Smallest], pairs: Sequence[Printed], assumed: Assumed, *, number: str, difference: float | None
) -> str:
    """Both tables as one object; points, and shares between 0 and 1."""
    found: dict[str, Any] = {
        "level": LEVEL, "power": POWER, "assumed": asdict(assumed), "difference": difference,
        "tasks": [_record(row) for row in rows], "table": number, "pairs": [asdict(pair) for pair in pairs],
    }  # fmt: skip
    return json.dumps(found, indent=1, ensure_ascii=False)


def _record(row: Smallest) -> dict[str, Any]:
    example = row.errors.points if row.errors.counts else None
    return {
        "task": row.task, "metric": row.errors.metric, "examples": row.errors.examples, "points_an_example": example,
        "score": row.score, "discordant": row.discordant, "smallest_difference": row.by_seeds,
        "seeds_needed": row.seeds_needed,
    }  # fmt: skip


def _smallest(rows: Sequence[Smallest], difference: float | None) -> tuple[list[str], list[list[Cell]]]:
    seeds = list(rows[0].by_seeds)
    headings = [
        "task",
        "metric",
        "examples",
        "one example",
        "at score",
        "discordant",
        *(amount(n, "seed") for n in seeds),
    ]
    headings += [f"seeds for {difference:g}"] if difference is not None else []
    cells: list[list[Cell]] = []
    for row in rows:
        errors = row.errors
        line: list[Cell] = [_task(row.task), METRICS.get(errors.metric, errors.metric), f"{errors.examples:,}"]
        line += [_example(errors), f"{row.score:.1f}"]
        line += [NOTHING if row.discordant is None else f"{row.discordant:.1%}"]
        line += [NOTHING if found is None else f"{found:.2f}" for found in row.by_seeds.values()]
        if difference is not None:
            line.append(f"over {MOST_SEEDS}" if row.seeds_needed is None else str(row.seeds_needed))
        cells.append(line)
    return headings, cells


def _example(errors: Errors) -> str:
    return NOTHING if not errors.counts else f"{'' if errors.metric == 'accuracy' else '≈ '}{errors.points:.3f}"


def _numbers(pair: Printed) -> list[Cell]:
    count = NOTHING if pair.examples is None else f"{'≈ ' if pair.task in ('cola', 'mrpc') else ''}{pair.examples:,}"
    best = NOTHING if pair.best is None else _p(pair.best)
    return [f"{pair.difference:.2f}", count, best, _p(pair.realistic)]


def _summary(pairs: Sequence[Printed]) -> str:
    known = [pair for pair in pairs if pair.best is not None]
    never = sum(pair.best > LEVEL for pair in known if pair.best is not None)
    seldom = sum(pair.realistic > LEVEL for pair in pairs)
    return (
        f"{never} of {len(known)} differences have p > 0.05 even in the best case: all discordant examples go one way,"
        f" p = 2 · 0.5^examples (exact McNemar). {seldom} of {len(pairs)} have p > 0.05 in the realistic case: exact"
        " McNemar with the assumed share of errors that one method makes alone."
    )


def _named(pair: Printed) -> list[Cell]:
    return [METHOD_LABELS.get(name, name) for name in (pair.better, pair.other)]


def _task(task: str) -> str:
    return TASK_LABELS.get(task, task)


def _p(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"
