"""Sentences that summarize a table over its tasks: ranks, robust means, and which rows are equivalent to the best."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from krona.messages import join_names
from krona.metrics import over_tasks
from krona.metrics.over_tasks import MARGIN, Estimate
from krona.metrics.statistics import SWAPS
from krona.report.table import ALPHA, AVERAGE, Cell, Row, Table, common_answers

FEWEST_TASKS, FEWEST_ROWS = 3, 3
MOST_ROWS = 12
MOST_EXAMPLES = 10_000  # limit of a test set's size; a larger bootstrap would take seconds for each pair of rows
FEWEST_SEEDS = 3
EQUIVALENT, DIFFERENT = f"equivalent within {MARGIN:g} point", "significantly different"
UNCLEAR = f"neither significantly different nor equivalent within {MARGIN:g} point"


def task_summary(table: Table) -> list[str]:
    """Return sentences about the rows with a score on every task, or [] for fewer than three tasks or rows."""
    tasks = [column.key for column in table.task_columns]
    compared = [row for row in table.rows if row.cell(AVERAGE).compared]
    rows = sorted(compared, key=lambda row: -sum(row.cell(task).value or 0.0 for task in tasks))[:MOST_ROWS]
    if table.section is None or len(tasks) < FEWEST_TASKS or len(rows) < FEWEST_ROWS:
        return []
    labels = [column.label for column in table.task_columns]
    cells = [row.cell(task) for row in rows for task in tasks]
    sources = len(compared), labels, [row.name for row in rows], [(cell.sources, cell.by_seed) for cell in cells]
    found: list[str] = cells[0].compute("summary", sources, partial(_summarize, rows, tasks, labels, len(compared)))
    return found


def _summarize(rows: Sequence[Row], tasks: Sequence[str], labels: Sequence[str], compared: int) -> list[str]:
    scores = np.array([[row.cell(task).value for row in rows] for task in tasks], dtype=float)
    ranks = over_tasks.mean_ranks(scores)
    order = [int(place) for place in np.argsort(ranks.mean, kind="stable")]
    best, others = rows[order[0]], [rows[place] for place in order[1:]]
    listed = ", ".join(f"{rows[place].name} {ranks.mean[place]:.2f}" for place in order)
    runs = {row: [np.array([*row.cell(task).by_seed.values()]) for task in tasks] for row in rows}
    means = ", ".join(
        f"{row.name} {_format(over_tasks.interquartile_mean_of(runs[row]), 1)}" for row in (best, *others)
    )
    higher = ", ".join(f"{row.name} {_format(over_tasks.improvement_of(runs[best], runs[row]), 2)}" for row in others)
    worse = [
        rows[place].name for place in order if ranks.mean[place] - ranks.mean[order[0]] > ranks.critical_difference
    ]
    fewest = min(len(scores) for row in rows for scores in runs[row])
    too_narrow = ", which is too narrow for two seeds" if fewest < FEWEST_SEEDS else ""
    over_seeds = [
        f"Interquartile mean (the mean of the middle half of a row's scores on all tasks), with a 95 % bootstrap "
        f"interval over seeds{too_narrow}: {means}.",
        f"Share of the pairs of runs on the same task in which {best.name} scores higher, as the mean over tasks with "
        f"an interval over seeds (0.50 means no difference): compared with {higher}.",
    ]
    left_out = f"Of {compared} rows, the {MOST_ROWS} with the highest mean score are compared over the tasks."
    return [
        *([left_out] if compared > MOST_ROWS else []),
        f"Mean rank over {len(tasks)} tasks (1 is the best): {listed}. Friedman's test with {SWAPS:,} permutations: "
        f"p = {ranks.p:.2g}. Significantly worse than {best.name}, because the mean ranks are more than "
        f"{ranks.critical_difference:.2f} apart (Nemenyi's test, 5 % level): {join_names(worse) or 'no row'}.",
        *(over_seeds if fewest > 1 else []),
        *_equivalence_sentences(best, others, tasks, labels),
    ]


def _equivalence_sentences(best: Row, others: Sequence[Row], tasks: Sequence[str], labels: Sequence[str]) -> list[str]:
    found = []
    for row in others:
        by_verdict: dict[str, list[str]] = {}
        for task, label in zip(tasks, labels, strict=True):
            one, other = best.cell(task), row.cell(task)
            if verdict := compare_within_margin(one, other):
                difference = (other.value or 0.0) - (one.value or 0.0)  # cells that were compared have a value
                by_verdict.setdefault(verdict, []).append(f"{label} ({difference:+.2f})")
        if by_verdict:
            words = "; ".join(f"{verdict} on {join_names(names)}" for verdict, names in by_verdict.items())
            found.append(f"{row.name} compared with {best.name} on the same examples: {words}.")
    return found


def compare_within_margin(a: Cell, b: Cell) -> str | None:
    """Return whether two cells are equivalent within a margin (two one-sided tests), different, or neither of the two.

    The tests use the 5 % level, without a correction for several pairs. Return None if the cells cannot be tested, or
    if the test set has more than `MOST_EXAMPLES` examples.
    """
    if not b.best:  # in the direction of the column's tests
        a, b = b, a
    found: str | None = a.compute("margin", (b.sources,), partial(_decide, a, b))
    return found


def _decide(a: Cell, b: Cell) -> str | None:
    test, (ours, theirs) = a.test_against(b), common_answers(a, b)
    if test is None or len(ours[0]) > MOST_EXAMPLES:
        return None
    if over_tasks.equivalence(ours, theirs, a.runs[0].metrics) < ALPHA:
        return EQUIVALENT
    return DIFFERENT if test.p < ALPHA else UNCLEAR


def _format(estimate: Estimate, digits: int) -> str:
    low, high = estimate.interval
    return f"{estimate.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
