"""Summarize a table over its tasks: ranks, robust means, and which rows are equivalent to the best."""

import numpy as np
import pandas as pd

from krona.metrics import over_tasks
from krona.metrics.over_tasks import MARGIN, Estimate
from krona.metrics.statistics import SWAPS
from krona.report.cells import ALPHA, common_answers, metrics_of, paired_test
from krona.report.table import AVERAGE, Row, Table

MIN_TASKS, MIN_ROWS = 3, 3
MAX_ROWS = 12
MAX_EXAMPLES = 10_000  # limit of a test set's size; a larger bootstrap would take seconds for each pair of rows
EQUIVALENT, DIFFERENT, UNCLEAR = "=", "≠", "?"
LEGEND = (
    "Mean rank over the tasks: 1 is the best; Friedman's test with {swaps:,} permutations: p = {p:.2g}; a row is worse "
    "if its mean rank is more than {distance:.2f} above the best (Nemenyi's test, 5 % level). Middle mean: the mean of "
    "the middle half of the scores of all runs. Best is higher: the share of pairs of runs on the same task in which "
    "{best} scores higher (0.50 means no difference). Both have 95 % bootstrap intervals over seeds, which are too "
    "narrow for fewer than three seeds. Tasks: the difference from {best} on the same examples; = equivalent within "
    "{margin:g} point, ≠ significantly different (5 % level, not corrected for several pairs), ? neither of the two."
)


def summarize_tasks(table: Table) -> pd.DataFrame | None:
    """Return a table with one row for each row that has a score on every task, sorted by mean rank.

    Return None for fewer than three tasks or rows. The attribute ``attrs["legend"]`` explains the columns. Only the
    `MAX_ROWS` rows with the highest mean score are compared.
    """
    tasks = [column.key for column in table.task_columns]
    compared = [row for row in table.rows if row.cell(AVERAGE).compared]
    rows = sorted(compared, key=lambda row: -sum(row.cell(task).value or 0.0 for task in tasks))[:MAX_ROWS]
    if table.section is None or len(tasks) < MIN_TASKS or len(rows) < MIN_ROWS:
        return None
    scores = np.array([[row.cell(task).value for row in rows] for task in tasks], dtype=float)
    ranks = over_tasks.mean_ranks(scores)
    order = [int(place) for place in np.argsort(ranks.mean, kind="stable")]
    best = rows[order[0]]
    runs = {row: [np.array([*row.cell(task).by_seed.values()]) for task in tasks] for row in rows}
    several_seeds = min(len(one) for of_row in runs.values() for one in of_row) > 1
    found = []
    for place in order:
        row, mean = rows[place], float(ranks.mean[place])
        line = {table.axis: row.name, "Mean rank": f"{mean:.2f}"}
        line["Mean rank"] += " worse" if mean - ranks.mean[order[0]] > ranks.critical_difference else ""
        if several_seeds:
            line["Middle mean"] = _format(over_tasks.interquartile_mean_of(runs[row]), 1)
            improvement = None if row is best else over_tasks.improvement_of(runs[best], runs[row])
            line["Best is higher"] = "" if improvement is None else _format(improvement, 2)
        for column in table.task_columns:
            line[column.label] = "" if row is best else _difference(table, best, row, column.key)
        found.append(line)
    frame = pd.DataFrame(found)
    frame.attrs["legend"] = LEGEND.format(
        swaps=SWAPS, p=ranks.p, distance=ranks.critical_difference, best=best.name, margin=MARGIN
    )
    if len(compared) > len(rows):
        frame.attrs["legend"] += f" Of {len(compared)} rows, the {MAX_ROWS} with the highest mean score are compared."
    return frame


def _difference(table: Table, best: Row, row: Row, task: str) -> str:
    """Return the difference from the best row on a task, with the sign of `compare_within_margin`."""
    gap = f"{(row.cell(task).value or 0.0) - (best.cell(task).value or 0.0):+.2f}".replace("-", "−")
    return f"{gap} {compare_within_margin(table, best, row, task) or ''}".strip()


def compare_within_margin(table: Table, a: Row, b: Row, task: str) -> str | None:
    """Return whether two rows are equivalent within a margin (two one-sided tests), different, or neither of the two.

    The tests use the 5 % level, without a correction for several pairs. Return None if the rows cannot be tested, or
    if the test set has more than `MAX_EXAMPLES` examples.
    """
    if not b.cell(task).best:  # in the direction of the column's tests
        a, b = b, a
    test = paired_test(table, a, b, task)
    ours, theirs = common_answers(a.cells[task], b.cells[task])
    if test is None or len(ours[0]) > MAX_EXAMPLES:
        return None
    if over_tasks.equivalence(ours, theirs, metrics_of(a.cells[task])) < ALPHA:
        return EQUIVALENT
    return DIFFERENT if test.p < ALPHA else UNCLEAR


def _format(estimate: Estimate, digits: int) -> str:
    low, high = estimate.interval
    return f"{estimate.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
