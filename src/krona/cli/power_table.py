"""Compute the smallest differences that the reports' test detects, and print them (`krona power`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console

from krona.display_names import TASK_LABELS
from krona.formatting import NOTHING, Cell, say, table, terminal_width
from krona.messages import KronaError, did_you_mean, plural
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


@dataclass(frozen=True)
class TaskPower:
    """The differences that the reports' test detects on a task's test set with a power of 80 %."""

    task: str
    metric: str
    examples: int
    points_an_example: float | None  # None for a correlation, as ``discordant``
    score: float  # the assumed score of both methods
    discordant: float | None  # the share of examples on which only one method is right
    smallest_difference: dict[int, float | None]  # points by number of seeds; None: no difference reaches the power
    seeds_needed: int | None  # to detect a given difference; None: none is given, or 20 seeds are not enough


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
    test_sets = {}
    for name in names:
        if name not in TEST_SETS and (examples is None or score is None):
            raise KronaError(
                f"--task {name} is not a GLUE task: {did_you_mean(name, TASKS)}. For your own task, whose score is "
                "accuracy, give --examples (the size of its test set) and --score (the score that you expect)."
            )
        known = TEST_SETS.get(name, Errors("accuracy", 0))
        errors = Errors(known.metric, examples or known.examples, known.positive)
        level = median(row[name] for row in read_paper_table("1").rows.values()) if score is None else score
        if not 0 < level < 100 or (errors.counts and errors.share_wrong(level) > 1):
            raise KronaError(
                f"--score {level:g} is not possible for {name} ({errors.metric}). Give a score between chance and 100."
            )
        test_sets[name] = errors, level
    return test_sets


def compute_power(
    test_sets: Mapping[str, tuple[Errors, float]], *, seeds: Sequence[int], difference: float | None, assumed: Assumed
) -> list[TaskPower]:
    """Return the smallest difference that the test detects for each task, with ``seeds`` and with 20 seeds."""
    rows = []
    for task, (errors, score) in test_sets.items():
        counts = dict.fromkeys((*seeds, MOST_SEEDS))
        smallest = {n: smallest_difference(errors, score=score, seeds=n, assumed=assumed) for n in counts}
        needed = None if difference is None else seeds_needed(errors, difference, score=score, assumed=assumed)
        points, discordant = (
            (errors.points, errors.discordant(score, score, assumed)) if errors.counts else (None, None)
        )
        rows.append(TaskPower(task, errors.metric, errors.examples, points, score, discordant, smallest, needed))
    return rows


def show(rows: Sequence[TaskPower], assumed: Assumed, *, difference: float | None, console: Console) -> None:
    headings = ["task", "metric", "examples", "one example", "at score", "discordant"]
    headings += [plural(n, "seed") for n in rows[0].smallest_difference]
    headings += [f"seeds for {difference:g}"] if difference is not None else []
    cells: list[list[Cell]] = []
    for row in rows:
        example = NOTHING if row.points_an_example is None else f"{row.points_an_example:.3f}"
        approximately = "≈ " if row.metric in ("f1", "matthews") else ""
        discordant = NOTHING if row.discordant is None else f"{row.discordant:.1%}"
        smallest = [NOTHING if points is None else f"{points:.2f}" for points in row.smallest_difference.values()]
        needed = [str(row.seeds_needed or f"over {MOST_SEEDS}")] if difference is not None else []
        names = [TASK_LABELS.get(row.task, row.task), row.metric, f"{row.examples:,}"]
        cells.append([*names, f"{approximately}{example}", f"{row.score:.1f}", discordant, *smallest, *needed])
    say(console, "The smallest true difference in points that the test detects (power 80 %, two-sided level 5 %)\n")
    say(console, table(headings, cells, width=terminal_width(console), left=("task", "metric")))
    say(
        console,
        f"\nAssumptions: {assumed.unshared:.0%} of the errors occur with only one of two methods (--unshared). "
        f"{assumed.lasting:.0%} of these errors occur with every seed (--lasting), so more seeds do not reduce them. "
        f"The true scores of a method's trained models have the standard deviation {assumed.seed_sd:g} points "
        "(--seed-sd). With one seed, the test compares two trained models. "
        "Matthews and F1 assume equally many errors in both classes. STS-B uses Steiger's formula. discordant: share "
        "of examples on which only one method is right.",
    )
