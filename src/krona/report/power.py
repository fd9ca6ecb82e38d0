"""`krona power`: the smallest differences that test sets can show, and the p-values of the paper's differences."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from statistics import median
from typing import Any

from rich.console import Console

from krona.messages import KronaError, amount, did_you_mean
from krona.metrics.power import (
    LEVEL,
    MOST_SEEDS,
    POWER,
    Assumed,
    Errors,
    best_case,
    examples_apart,
    realistic,
    seeds_needed,
    smallest_difference,
)
from krona.paper import METHOD_LABELS, TASK_LABELS, TASKS, PaperTable, read_paper_table
from krona.screen import Cell, say, table, terminal_width

# The test sets of data.protocol=table1 (docs/fidelity.md, Data). Positive: of the whole validation set.
TEST_SETS = {
    "cola": Errors("matthews", 522, positive=721 / 1043),
    "rte": Errors("accuracy", 139),
    "mrpc": Errors("f1", 204, positive=279 / 408),
    "sst2": Errors("accuracy", 872),
    "stsb": Errors("correlation", 750),
    "mnli": Errors("accuracy", 9815),
    "qnli": Errors("accuracy", 5463),
    "qqp": Errors("accuracy", 40430),
}
MNLI_DEV = Errors("accuracy", 9832)  # Table 9 prints best dev scores
WITH_TASKS = ("1", "4", "5", "6", "9")
NOTHING = "—"
METRICS = {"f1": "F1", "matthews": "Matthews", "correlation": "Pearson/Spearman"}


def usual_score(task: str) -> float:
    """The median of Table 1's methods on a task of GLUE."""
    return median(row[task] for row in read_paper_table("1").rows.values())


def chosen(tasks: Sequence[str], *, examples: int | None, score: float | None) -> dict[str, tuple[Errors, float]]:
    """Test set and score of each task; all of GLUE where none is named.

    Another task than GLUE's needs ``examples`` and ``score`` and counts as accuracy. Raises KronaError.
    """
    names = [name for text in tasks for name in text.split(",") if name] or list(TASKS)
    if (examples is not None or score is not None) and len(names) != 1:
        raise KronaError("--examples and --score are of one task: name it with --task")
    found = {}
    for name in names:
        if name not in TEST_SETS and (examples is None or score is None):
            raise KronaError(
                f"--task {name}: {did_you_mean(name, TASKS)}; for a task of your own with accuracy as its score, give "
                "--examples (of its test set) and --score (near which the methods are)"
            )
        known = TEST_SETS.get(name, Errors("accuracy", 0))
        errors = Errors(known.metric, examples or known.examples, known.positive)
        at = usual_score(name) if score is None else score
        if not 0 < at < 100 or (errors.counts and errors.share_wrong(at) > 1):
            raise KronaError(f"--score {at:g}: a score of {name} ({errors.metric}) here is below 100 and above chance")
        found[name] = errors, at
    return found


@dataclass(frozen=True)
class Smallest:
    """One task. ``by_seeds``: number of seeds → points, None where no difference has the power."""

    task: str
    errors: Errors
    score: float
    discordant: float | None  # share of the examples; None for a correlation
    by_seeds: dict[int, float | None]
    seeds_needed: int | None = None  # for the difference that was asked; None where 20 are too few


def smallest(
    chosen: Mapping[str, tuple[Errors, float]],
    *,
    seeds: Sequence[int],
    difference: float | None,
    assumed: Assumed,
) -> list[Smallest]:
    """Return a row for each task."""
    rows = []
    for task, (errors, score) in chosen.items():
        counts = dict.fromkeys((*seeds, MOST_SEEDS))
        found = {n: smallest_difference(errors, score=score, seeds=n, assumed=assumed) for n in counts}
        needed = None if difference is None else seeds_needed(errors, difference, score=score, assumed=assumed)
        share = errors.discordant(score, score, assumed) if errors.counts else None
        rows.append(Smallest(task, errors, score, share, found, needed))
    return rows


@dataclass(frozen=True)
class Printed:
    """Two printed scores of a task. ``examples`` and ``best`` are None for a correlation, which counts none."""

    task: str
    better: str
    other: str
    difference: float
    examples: int | None
    best: float | None
    realistic: float


def printed(number: str, tasks: Sequence[str], *, rows: Sequence[str] = (), assumed: Assumed) -> list[Printed]:
    """Neighbours in each column, from the best down; with ``rows`` all pairs of these rows instead.

    Raises KronaError for a table without scores by task, and for an unknown row.
    """
    table = read_paper_table(number)
    if number not in WITH_TASKS:
        raise KronaError(f"Table {number} prints no scores by task: choose from {', '.join(WITH_TASKS)}")
    if len(rows) == 1:
        raise KronaError(f"--pair {rows[0]}: a pair is two rows, as in krona,lora")
    for row in rows:
        if row not in table.rows:
            raise KronaError(f"--pair {row}: {did_you_mean(row, table.rows)}")
    found = []
    for task in (task for task in TASKS if task in table.columns and task in tasks):
        ranked = sorted(rows or table.rows, key=lambda row: -table.rows[row][task])
        pairs = combinations(ranked, 2) if rows else pairwise(ranked)
        found += [_pair(table, task, a, b, assumed) for a, b in pairs]
    return found


def _pair(table: PaperTable, task: str, a: str, b: str, assumed: Assumed) -> Printed:
    errors = MNLI_DEV if table.number == "9" else TEST_SETS[task]
    one, two = table.rows[a][task], table.rows[b][task]
    examples = examples_apart(errors, one, two) if errors.counts else None
    best = None if examples is None else best_case(examples)
    return Printed(task, a, b, round(one - two, 2), examples, best, realistic(errors, one, two, assumed))


def show(
    rows: Sequence[Smallest], pairs: Sequence[Printed], assumed: Assumed, *, number: str, difference: float | None,
    console: Console,
) -> None:  # fmt: skip
    """Both tables, each with what its columns mean."""
    width = terminal_width(console)
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
