"""What a user gets who tunes each method with k trials: scores and differences by k (`krona.metrics.best_of_k`).

A method has a grid on a task if its runs tried several settings, each with the same seeds, and all have predictions on
dev and test.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from krona.display_names import task_label
from krona.metrics.best_of_k import Grid, best_of_k, compare_best_of_k
from krona.metrics.compare_methods import row_contributions
from krona.metrics.statistics import holm
from krona.report.cells import Examine
from krona.report.pairs import difference_values, format_pairs
from krona.report.runs import group_by
from krona.report.table import PAIRS, BestOfK, Row, Table
from krona.runs.predictions import score_metrics

TRIALS = (1, 3, 6)  # the numbers of trials in the table, besides the number of all settings
MIN_SETTINGS, MIN_SEEDS = 3, 3
TUNED = ("optimizer.", "method.")  # the beginnings of the keys in which the settings of a grid may differ
LEGEND = (
    "k trials: k settings of the grid, drawn at random, each run with one seed. The setting with the best dev score is "
    "trained again with another seed. The score is the expected test score of this last run. The 95 % intervals are "
    "over seeds, dev rows and test rows, so they contain the choice of the setting. p (Holm): corrected over the pairs "
    "with equal k."
)
POINTS = ("method", "label", "k", "score", "low", "high")


def find_best_of_k(table: Table, examine: Examine) -> list[BestOfK]:
    """Return the estimates of each task on which a method has a grid."""
    found = []
    for column in table.task_columns:
        by_key = group_by([row for row in table.rows if row.runs.get(column.key)], lambda row: row.key)
        grids = {key: grid for key, rows in by_key.items() if (grid := _read_grid(rows, column.key, examine))}
        keys = [key for key, (_, targets) in grids.items() if targets == next(iter(grids.values()))[1]]
        if (reference := table.references.get(column.key)) is not None:
            keys.sort(key=lambda key: key == reference.key)  # differences are to the last one
        if keys:
            labels = {by_key[key][0].label: by_key[key][0].method for key in keys}
            found.append(estimate(task_label(column.key), labels, [grids[key][0] for key in keys]))
    return found


def estimate(task: str, methods: Mapping[str, str], grids: Sequence[Grid]) -> BestOfK:
    """Return the scores of all k, and the differences at the k of the table.

    Args:
        task: the label of the task.
        methods: the method of each label.
        grids: the grid of each label, on the same rows.
    """
    points, pairs = [], []
    most = max(grid.settings for grid in grids)
    for k in range(1, most + 1):
        members = {label: grid for label, grid in zip(methods, grids, strict=True) if k <= grid.settings}
        for label, score in zip(members, best_of_k([*members.values()], k), strict=True):
            points.append((methods[label], label, k, score.value, *score.interval))
        if k in (*TRIALS, most):
            labels, differences = [*members], compare_best_of_k([*members.values()], k)
            corrected = holm([difference.p for difference in differences.values()])
            for ((i, j), one), p in zip(differences.items(), corrected, strict=True):
                names = {"k": k, "row": labels[i], "reference": labels[j]}
                pairs.append({**names, **difference_values(one), "p_holm": p})
    frames = pd.DataFrame(points, columns=[*POINTS]), pd.DataFrame(pairs, columns=["k", *PAIRS])
    sizes = [
        f"{label}: {grid.settings} settings × {grid.seeds} seeds" for label, grid in zip(methods, grids, strict=True)
    ]
    return BestOfK(task, *frames, _as_text(task, *frames, sizes))


def _as_text(task: str, points: pd.DataFrame, pairs: pd.DataFrame, sizes: Sequence[str]) -> pd.DataFrame:
    lines = []
    for k in [k for k in points.k.unique() if k in (*TRIALS, points.k.max())]:
        for point in points[points.k == k].itertuples():
            lines.append((str(k), point.label, f"{point.score:.2f}", f"{point.low:.2f}…{point.high:.2f}", "", ""))
        shown = format_pairs(pairs[pairs.k == k])[["Pair", "Difference", "Interval", "p", "p (Holm)"]]
        lines += [(str(k), *values) for values in shown.itertuples(index=False)]
    frame = pd.DataFrame(lines, columns=["k", "Method or pair", "Score", "Interval", "p", "p (Holm)"])
    frame.attrs |= {"title": f"{task} after k trials of tuning", "legend": f"{'; '.join(sizes)}. {LEGEND}"}
    return frame


def _read_grid(rows: Sequence[Row], task: str, examine: Examine) -> tuple[Grid, bytes] | None:
    """Return the grid of a method's rows and the targets of dev and test, or None if the rows are not a grid."""
    by_setting = [{run.seed: run for run in row.runs[task] if run.done} for row in rows]
    seeds = sorted(set.intersection(*map(set, by_setting)))
    if len(rows) < MIN_SETTINGS or len(seeds) < MIN_SEEDS:
        return None
    if not all(key.startswith(TUNED) for row in rows for key in row.settings):
        return None
    runs = [by_seed[seed] for by_seed in by_setting for seed in seeds]
    answers = [examine(run)[0] for run in runs]
    if not all(split in of_run and of_run[split].units > 1 for of_run in answers for split in ("dev", "test")):
        return None
    targets = {of_run["dev"].targets.tobytes() + of_run["test"].targets.tobytes() for of_run in answers}
    if len(targets) > 1:
        return None
    metrics, shape = score_metrics(runs[0].result.config["task"]), (len(rows), len(seeds), -1)
    dev, test = (
        row_contributions([of_run[split] for of_run in answers], metrics).reshape(shape) for split in ("dev", "test")
    )
    return Grid(dev, test), targets.pop()
