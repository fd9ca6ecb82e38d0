"""Summarise a table over its tasks: ranks, robust means, and the differences from a reference row."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from krona.metrics import over_tasks
from krona.metrics.compare_methods import MIN_SEEDS, Difference
from krona.metrics.statistics import SWAPS, holm
from krona.report.cells import ALPHA
from krona.report.table import AVERAGE, Row, Table

MIN_TASKS, MIN_ROWS = 3, 3
MAX_ROWS = 12
MARGIN = 1.0  # the equivalence margin in points
EQUIVALENT, DIFFERENT, UNCLEAR = "=", "≠", "?"
LEGEND = (
    "Mean rank: the mean of the ranks on the tasks (rank 1 is the best; Friedman's test with {swaps:,} permutations: "
    "p = {p:.2g}). Worse: the mean rank is more than {distance:.2f} above the lowest (Nemenyi's test, 5 % level). Tie: "
    "equal mean ranks. Middle mean: the mean of the middle half of the scores of all runs. Above {reference}: the "
    "share of pairs of runs on the same task in which the row scores higher (0.50 means no difference). Task columns: "
    "the difference from {reference}, which is not chosen by its scores. ≠: significantly different. =: equivalent "
    "within {margin:g} point. ?: neither (5 % level, Holm's correction over these rows and tasks).{few_seeds}"
)
FEW_SEEDS = f" With fewer than {MIN_SEEDS} seeds, this is about these runs and not about the methods."


def summarize_tasks(table: Table) -> pd.DataFrame | None:
    """Return a table of the rows with a score on every task, sorted by mean rank.

    Return None for fewer than three tasks or rows. The attribute ``attrs["legend"]`` explains the columns. At most
    `MAX_ROWS` rows are compared: the reference row and the rows with the highest mean scores. If the table has no
    reference row, its first row is used.
    """
    tasks = [column.key for column in table.task_columns]
    compared = [row for row in table.rows if row.cell(AVERAGE).compared]
    if table.section is None or len(tasks) < MIN_TASKS or len(compared) < MIN_ROWS:
        return None
    reference = table.references.get(AVERAGE, compared[0])
    rows = sorted(compared, key=lambda row: (row is not reference, -sum(row.cell(task).value or 0.0 for task in tasks)))
    rows = rows[:MAX_ROWS]
    scores = np.array([[row.cell(task).value for row in rows] for task in tasks], dtype=float)
    ranks = over_tasks.mean_ranks(scores)
    order = [int(position) for position in np.argsort(ranks.mean, kind="stable")]
    runs = {row: [np.array([*row.cell(task).by_seed.values()]) for task in tasks] for row in rows}
    several_seeds = min(len(scores_of_task) for of_row in runs.values() for scores_of_task in of_row) > 1
    signs = _signs(table, reference, rows, tasks)
    lines = []
    for position in order:
        row, mean = rows[position], float(ranks.mean[position])
        tie = " tie" if np.isclose(ranks.mean, mean).sum() > 1 else ""
        worse = " worse" if mean - ranks.mean[order[0]] > ranks.critical_difference else ""
        line = {table.axis: row.name, "Mean rank": f"{mean:.2f}{tie}{worse}"}
        if several_seeds:
            line["Middle mean"] = f"{over_tasks.interquartile_mean(runs[row]):.1f}"
            above = over_tasks.probability_of_improvement(runs[row], runs[reference])
            line[f"Above {reference.name}"] = "" if row is reference else f"{above:.2f}"
        for column in table.task_columns:
            gap = (row.cell(column.key).value or 0.0) - (reference.cell(column.key).value or 0.0)
            shown = f"{gap:+.2f} {signs.get((row, column.key), '')}".strip().replace("-", "−")
            line[column.label] = "" if row is reference else shown
        lines.append(line)
    frame = pd.DataFrame(lines)
    few_seeds = any(row.cell(task).samples and not row.cell(task).of_methods for row in rows for task in tasks)
    frame.attrs["title"] = "Ranks, means and equivalence over the tasks"
    frame.attrs["legend"] = LEGEND.format(
        swaps=SWAPS, p=ranks.p, distance=ranks.critical_difference, reference=reference.name, margin=MARGIN,
        few_seeds=FEW_SEEDS if few_seeds else "",
    )  # fmt: skip
    if len(compared) > len(rows):
        frame.attrs["legend"] += f" Of {len(compared)} rows, the {MAX_ROWS} with the highest mean score are compared."
    return frame


def _signs(table: Table, reference: Row, rows: Sequence[Row], tasks: Sequence[str]) -> dict[tuple[Row, str], str]:
    """Return a sign for each row and task that was tested against the reference: different, equivalent or unclear."""
    tests: dict[tuple[Row, str], Difference] = {}
    for (a, b, task), difference in table.differences.items():
        if task in tasks and reference in (a, b) and a in rows and b in rows:
            tests[b if a is reference else a, task] = difference
    different = holm([difference.p for difference in tests.values()])
    equivalent = holm([difference.p_equivalent(MARGIN) for difference in tests.values()])
    return {
        row_and_task: DIFFERENT if p <= ALPHA else EQUIVALENT if p_equivalent <= ALPHA else UNCLEAR
        for row_and_task, p, p_equivalent in zip(tests, different, equivalent, strict=True)
    }
