"""Print p-values of differences between the paper's scores: ``python docs/site/paper_differences.py TABLE [ROW,ROW]``.

Without rows, neighbouring scores of each column are compared. Each score has one seed, so each p-value compares two
trained models, not two methods. The p-values depend on the examples that only one of the two methods solves:

- best case: the better method solves all of them. The exact McNemar test then gives p = 2 · 0.5^examples.
- realistic: their number is 27 % of both methods' errors (`krona.metrics.power.Assumed.unshared`).
- cautious: their number is 42 % of both methods' errors, the largest share in docs/results.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from rich.console import Console

from krona.cli.power_table import TEST_SETS
from krona.display_names import TASK_LABELS, method_label
from krona.formatting import NOTHING, format_p, say, table, terminal_width
from krona.messages import KronaError, did_you_mean
from krona.metrics.compare_methods import LEVEL
from krona.metrics.power import Assumed, Errors, correlation_error
from krona.paper import TASKS, read_paper_table
from krona.tasks.notes import OFFICIAL_ROWS

MNLI_DEV = Errors("accuracy", OFFICIAL_ROWS["mnli"]["validation_mismatched"])  # Table 9 prints the best dev scores
TABLES = ("1", "4", "5", "6", "9")  # the tables with scores by task
CAUTIOUS = Assumed(unshared=0.42)


@dataclass(frozen=True)
class PaperDifference:
    """The difference of two scores in a table of the paper."""

    task: str
    better: str  # the row with the higher score
    other: str  # the row with the lower score
    difference: float  # in points
    examples: int | None  # the difference as a number of examples; None for a correlation
    best: float | None  # the p-value in the best case; None for a correlation
    realistic: float
    cautious: float


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of the exact McNemar test.

    Args:
        only_a, only_b: the number of examples that only the first run solves, and that only the second run solves.
    """
    from scipy.special import bdtr

    n = only_a + only_b
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), n, 0.5))) if n else 1.0


def paper_differences(number: str, rows: Sequence[str] = ()) -> list[PaperDifference]:
    """Return the differences of all pairs of ``rows``, or of neighbouring scores, for each task of a table."""
    printed = read_paper_table(number)
    if number not in TABLES:
        raise KronaError(f"Table {number} has no scores by task. Choose from {', '.join(TABLES)}.")
    for row in rows:
        if row not in printed.rows:
            raise KronaError(f"Table {number} does not have the row {row}: {did_you_mean(row, printed.rows)}")
    differences = []
    for task in (task for task in TASKS if task in printed.columns):
        errors = MNLI_DEV if number == "9" else TEST_SETS[task]
        scores = {row: printed.rows[row][task] for row in rows or printed.rows}
        ranked = sorted(scores, key=lambda row: -scores[row])
        for better, other in combinations(ranked, 2) if rows else pairwise(ranked):
            high, low = scores[better], scores[other]
            examples = count_examples(errors, high, low) if errors.counts else None
            best = None if examples is None else mcnemar(examples, 0)
            p, cautious = (estimate_p(errors, high, low, assumed) for assumed in (Assumed(), CAUTIOUS))
            differences.append(PaperDifference(task, better, other, round(high - low, 2), examples, best, p, cautious))
    return differences


def estimate_p(errors: Errors, a: float, b: float, assumed: Assumed) -> float:
    """Return an estimated p-value for two published scores of single runs.

    The exact McNemar test is applied to d · N discordant examples, where d follows from the assumed share of unshared
    errors. The better method is right on k more of these examples than the other method, where k is the score
    difference as a number of examples. d · N is rounded to a number for which this is possible. For a correlation, the
    p-value is computed from a normal distribution with the standard error `correlation_error`.
    """
    if not errors.counts:
        from scipy.special import ndtr

        return float(2 * ndtr(-abs(a - b) / correlation_error(errors, (a + b) / 2, assumed)))
    more = count_examples(errors, a, b)
    # only the worse method solves ``worse`` examples, and only the better method solves ``worse + more`` examples
    worse = max(0, round((errors.discordant(a, b, assumed) * errors.examples - more) / 2))
    return mcnemar(worse + more, worse)


def count_examples(errors: Errors, a: float, b: float) -> int:
    """Return the difference of two scores, converted to a number of examples and rounded."""
    return round(abs(a - b) / errors.points)


def show(differences: Sequence[PaperDifference], console: Console) -> None:
    headings = ["task", "better", "other", "points", "examples", "p, best case", "p, realistic", "p, cautious"]
    cells = []
    for pair in differences:
        names = [TASK_LABELS[pair.task], method_label(pair.better), method_label(pair.other)]
        best = NOTHING if pair.best is None else format_p(pair.best)
        examples = NOTHING if pair.examples is None else f"{pair.examples:,}"
        p_values = [best, format_p(pair.realistic), format_p(pair.cautious)]
        cells.append([*names, f"{pair.difference:.2f}", examples, *p_values])
    say(console, table(headings, cells, width=terminal_width(console), left=headings[:3]))
    best_cases = [pair.best for pair in differences if pair.best is not None]
    unclear = sum(p > LEVEL for p in best_cases)
    say(console, f"\n{unclear} of {len(best_cases)} differences have p > 0.05 even in the best case.")


if __name__ == "__main__":
    number, *pair = sys.argv[1:]
    show(paper_differences(number, [row for item in pair for row in item.split(",")]), Console())
