"""Compute the smallest differences that the reports' test detects (`krona power`)."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from rich.console import Console

from krona.formatting import NOTHING, say, table, terminal_width
from krona.messages import KronaError, did_you_mean
from krona.metrics.power import MOST_SEEDS, Assumed, Errors, seeds_needed, smallest_difference
from krona.paper import TASKS, read_paper_table
from krona.tasks.notes import OFFICIAL_ROWS

METRICS = {"cola": "matthews", "mrpc": "f1", "stsb": "correlation"}  # all other tasks: accuracy
POSITIVE = {"cola": 721 / 1043, "mrpc": 279 / 408}  # shares of positive examples in the validation sets
HALVED = ("cola", "rte", "mrpc", "stsb")  # tasks whose test set is the larger half of the validation rows


def _test_set(task: str) -> Errors:
    """Return the test set of a GLUE task with data.protocol=table1 (docs/fidelity.md, Data)."""
    rows = OFFICIAL_ROWS[task]
    validation = rows.get("validation", rows.get("validation_matched", 0))
    examples = (validation + 1) // 2 if task in HALVED else validation
    return Errors(METRICS.get(task, "accuracy"), examples, positive=POSITIVE.get(task, 0.5))


TEST_SETS = {task: _test_set(task) for task in TASKS}


def compute_power(
    tasks: Sequence[str], *, examples: int | None, score: float | None, seeds: int, difference: float | None
) -> list[dict[str, Any]]:
    """Return for each task the smallest difference that the test detects by number of seeds.

    Args:
        tasks: names of tasks. Empty: all GLUE tasks.
        examples, score: the size of the test set and the score of the methods; by default those of GLUE and Table 1.
        difference: a difference for which the number of seeds is computed.
    """
    rows = []
    for name in tasks or TASKS:
        if name not in TEST_SETS and (examples is None or score is None):
            raise KronaError(
                f"--task {name} is not a GLUE task: {did_you_mean(name, TASKS)}. For your own task, whose score is "
                "accuracy, give --examples (the size of its test set) and --score (the score that you expect)."
            )
        known = TEST_SETS.get(name, Errors("accuracy", 0))
        errors = Errors(known.metric, examples or known.examples, known.positive)
        level = median(row[name] for row in read_paper_table("1").rows.values()) if score is None else score
        if not 0 < level < 100 or (errors.counts and errors.share_wrong(level) > 1):
            raise KronaError(f"--score {level:g} is not possible for {name}. Give a score between chance and 100.")
        given: dict[str, Any] = {"score": level, "assumed": Assumed()}
        counts = [*([seeds] if seeds > 1 else [1, 3, 5]), MOST_SEEDS]
        smallest = {n: smallest_difference(errors, seeds=n, **given) for n in counts}
        needed = None if difference is None else seeds_needed(errors, difference, **given)
        rows.append(
            {"task": name, "metric": errors.metric, "examples": errors.examples, "score": level,
             "smallest_difference": smallest, "seeds_needed": needed}
        )  # fmt: skip
    return rows


def print_power(rows: Sequence[dict[str, Any]], console: Console, *, difference: float | None) -> None:
    seeds = [*rows[0]["smallest_difference"]]
    needed = [f"seeds for {difference:g}"] if difference is not None else []
    cells = [
        [row["task"], row["metric"], f"{row['examples']:,}", f"{row['score']:.1f}",
         *(NOTHING if points is None else f"{points:.2f}" for points in row["smallest_difference"].values()),
         *(str(row["seeds_needed"] or f"over {MOST_SEEDS}") for _ in needed)]
        for row in rows
    ]  # fmt: skip
    headings = ["task", "metric", "examples", "at score", *(f"{n} seeds" for n in seeds), *needed]
    say(console, "The smallest true difference in points that the test detects (power 80 %, two-sided level 5 %)\n")
    say(console, table(headings, cells, width=terminal_width(console), left=("task", "metric")))
    say(console, "\ndocs/reading-the-report.md lists the assumptions about the errors of two methods.")
