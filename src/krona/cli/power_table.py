"""Compute the smallest differences that a test detects, and p-values of the paper's differences (`krona power`)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, pairwise
from statistics import median
from typing import Any

from rich.console import Console

from krona.formatting import NOTHING, Cell, format_p, say, table, terminal_width
from krona.labels import TASK_LABELS, method_label
from krona.messages import KronaError, amount, did_you_mean
from krona.metrics.power import (
    LEVEL,
    MOST_SEEDS,
    MOST_UNSHARED,
    POWER,
    Assumed,
    Errors,
    examples_apart,
    realistic_p,
    seeds_needed,
    smallest_difference,
)
from krona.metrics.statistics import mcnemar
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
MNLI_DEV = Errors("accuracy", OFFICIAL_ROWS["mnli"]["validation_mismatched"])  # Table 9 prints the best dev scores
WITH_TASKS = ("1", "4", "5", "6", "9")


def choose_test_sets(
    tasks: Sequence[str], *, examples: int | None, score: float | None
) -> dict[str, tuple[Errors, float]]:
    """Return the test set of each task and the assumed score of the methods on it, by task name.

    Args:
        tasks: names of tasks. An item may also contain several names, such as ``rte,cola``. Empty: all GLUE tasks.
        examples, score: the size of the test set and the score of a single task. The defaults are GLUE's size and the
            median score of Table 1. A task outside GLUE needs both. Its metric is assumed to be accuracy.
    """
    names = [name for text in tasks for name in text.split(",") if name] or list(TASKS)
    if (examples is not None or score is not None) and len(names) != 1:
        raise KronaError("--examples and --score describe one task. Give its name with --task.")
    found = {}
    for name in names:
        if name not in TEST_SETS and (examples is None or score is None):
            raise KronaError(
                f"--task {name} is not a GLUE task: {did_you_mean(name, TASKS)}. For your own task, whose score is "
                "accuracy, give --examples (the size of its test set) and --score (the score that you expect)."
            )
        known = TEST_SETS.get(name, Errors("accuracy", 0))
        errors = Errors(known.metric, examples or known.examples, known.positive)
        near = median(row[name] for row in read_paper_table("1").rows.values()) if score is None else score
        if not 0 < near < 100 or (errors.counts and errors.share_wrong(near) > 1):
            raise KronaError(
                f"--score {near:g} is not possible for {name} ({errors.metric}). Give a score between chance and 100."
            )
        found[name] = errors, near
    return found


def find_smallest(
    test_sets: Mapping[str, tuple[Errors, float]], *, seeds: Sequence[int], difference: float | None, assumed: Assumed
) -> list[dict[str, Any]]:
    """Return the smallest difference that the significance test of reports detects on each task's test set.

    Args:
        seeds: the numbers of seeds for which the difference is computed. The difference for 20 seeds is always added.
        difference: if given, also compute how many seeds are needed to detect a difference of this size, in points.

    Returns:
        A record for each task. ``smallest_difference`` maps each number of seeds to the difference in points, or to
        None if no difference reaches the power. ``discordant`` is the share of examples on which only one method is
        right.
    """
    records = []
    for task, (errors, score) in test_sets.items():
        counts = dict.fromkeys((*seeds, MOST_SEEDS))
        found = {n: smallest_difference(errors, score=score, seeds=n, assumed=assumed) for n in counts}
        needed = None if difference is None else seeds_needed(errors, difference, score=score, assumed=assumed)
        records.append({
            "task": task, "metric": errors.metric, "examples": errors.examples,
            "points_an_example": errors.points if errors.counts else None, "score": score,
            "discordant": errors.discordant(score, score, assumed) if errors.counts else None,
            "smallest_difference": found, "seeds_needed": needed,
        })  # fmt: skip
    return records


@dataclass(frozen=True)
class PaperDifference:
    """The difference of two scores in a table of the paper."""

    task: str
    better: str  # the row with the higher score
    other: str  # the row with the lower score
    difference: float  # in points
    examples: int | None  # the difference as a number of examples; None for a correlation
    best: float | None  # the p-value if the better method is right on all discordant examples; None for a correlation
    realistic: float  # the p-value with the assumed share of unshared errors (`realistic_p`)
    cautious: float  # the p-value with a share of at least `MOST_UNSHARED`


def paper_differences(
    number: str, tasks: Sequence[str], *, rows: Sequence[str] = (), assumed: Assumed
) -> list[PaperDifference]:
    """Return the differences between neighbouring scores in each column of one of the paper's tables.

    If ``rows`` is given, compare all pairs of these rows instead.
    """
    printed = read_paper_table(number)
    if number not in WITH_TASKS:
        raise KronaError(f"Table {number} has no scores by task. Choose from {', '.join(WITH_TASKS)}.")
    if len(rows) == 1:
        raise KronaError(f"--pair {rows[0]} has only one row. Give two rows, as in --pair krona,lora.")
    for row in rows:
        if row not in printed.rows:
            raise KronaError(f"--pair {row}: Table {number} does not have this row: {did_you_mean(row, printed.rows)}")
    found = []
    for task in (task for task in TASKS if task in printed.columns and task in tasks):
        errors = MNLI_DEV if number == "9" else TEST_SETS[task]
        scores = {row: printed.rows[row][task] for row in rows or printed.rows}
        ranked = sorted(scores, key=lambda row: -scores[row])
        for a, b in combinations(ranked, 2) if rows else pairwise(ranked):
            one, two = scores[a], scores[b]
            examples = examples_apart(errors, one, two) if errors.counts else None
            best = None if examples is None else mcnemar(examples, 0)
            p = realistic_p(errors, one, two, assumed)
            cautious = realistic_p(errors, one, two, replace(assumed, unshared=max(assumed.unshared, MOST_UNSHARED)))
            found.append(PaperDifference(task, a, b, round(one - two, 2), examples, best, p, cautious))
    return found


def show(
    rows: Sequence[dict[str, Any]], pairs: Sequence[PaperDifference], assumed: Assumed, *, number: str,
    difference: float | None, console: Console,
) -> None:  # fmt: skip
    """Print the smallest differences (``rows``) and the paper's differences (``pairs``) as tables with legends."""
    width = terminal_width(console)
    headings = ["task", "metric", "examples", "one example", "at score", "discordant"]
    headings += [amount(n, "seed") for n in rows[0]["smallest_difference"]]
    headings += [f"seeds for {difference:g}"] if difference is not None else []
    cells: list[list[Cell]] = []
    for row in rows:
        example = NOTHING if row["points_an_example"] is None else f"{row['points_an_example']:.3f}"
        discordant = NOTHING if row["discordant"] is None else f"{row['discordant']:.1%}"
        least = [NOTHING if one is None else f"{one:.2f}" for one in row["smallest_difference"].values()]
        about = "≈ " if row["metric"] in ("f1", "matthews") else ""
        task, counted, score = TASK_LABELS.get(row["task"], row["task"]), f"{row['examples']:,}", f"{row['score']:.1f}"
        needed = [str(row["seeds_needed"] or f"over {MOST_SEEDS}")] if difference is not None else []
        cells.append([task, row["metric"], counted, f"{about}{example}", score, discordant, *least, *needed])
    say(
        console,
        "The smallest true difference in points that the reports' test detects (power 80 %, two-sided level 5 %)\n",
    )
    say(console, table(headings, cells, width=width, left=("task", "metric")))
    say(
        console,
        f"\nAssumptions: {assumed.unshared:.0%} of the errors occur with only one of two methods (--unshared). "
        f"{assumed.lasting:.0%} of these errors occur with every seed (--lasting), so more seeds do not reduce them. "
        f"The true scores of a method's trained models have the standard deviation {assumed.seed_sd:g} points "
        "(--seed-sd). With one seed, the test compares two trained models. "
        "Matthews and F1 assume equally many errors in both classes. STS-B uses Steiger's formula. discordant: share "
        "of examples on which only one method is right.",
    )
    if not pairs:
        return
    split = "test" if number != "9" else "dev"
    say(console, f"\nDifferences in the paper's Table {number}, each between single runs on one {split} set\n")
    headings = ["task", "better", "other", "points", "examples", "p, best case", "p, realistic", "p, cautious"]
    cells = []
    for pair in pairs:
        names = [TASK_LABELS.get(pair.task, pair.task), method_label(pair.better), method_label(pair.other)]
        best = NOTHING if pair.best is None else format_p(pair.best)
        examples = NOTHING if pair.examples is None else f"{pair.examples:,}"
        cells.append(
            [*names, f"{pair.difference:.2f}", examples, best, format_p(pair.realistic), format_p(pair.cautious)]
        )
    say(console, table(headings, cells, width=width, left=headings[:3]))
    counted_best = [pair.best for pair in pairs if pair.best is not None]
    say(
        console,
        f"\n{sum(p > LEVEL for p in counted_best)} of {len(counted_best)} differences have p > 0.05 even in the best "
        "case, in which the better method is right on every discordant example (exact McNemar: p = 2 · 0.5^examples). "
        f"{sum(pair.realistic > LEVEL for pair in pairs)} of {len(pairs)} differences have p > 0.05 in the realistic "
        f"case, in which {assumed.unshared:.0%} of the errors occur with only one method (exact McNemar). The cautious "
        f"case assumes {MOST_UNSHARED:.0%}, the largest share in this project's runs. Each score has one seed, so each "
        "p compares two trained models, not two methods.",
    )


def as_json(
    rows: Sequence[dict[str, Any]], pairs: Sequence[PaperDifference], assumed: Assumed, *, number: str,
    difference: float | None,
) -> str:  # fmt: skip
    """Return the tables of `show` as one JSON object. Differences are in points, and shares are between 0 and 1."""
    found = {
        "level": LEVEL, "power": POWER, "assumed": asdict(assumed), "difference": difference,
        "tasks": list(rows), "table": number, "pairs": [asdict(pair) for pair in pairs],
    }  # fmt: skip
    return json.dumps(found, indent=1, ensure_ascii=False)
