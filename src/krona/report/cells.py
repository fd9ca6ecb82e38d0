"""Compute the cells of scores: means, intervals and averages. Mark the best of a column and the cells that tie with it.

Only rows with equal training are compared. If a method has several settings, the best setting is chosen by dev scores,
never by test scores.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from krona.labels import task_label
from krona.metrics.scores.metric import Answers
from krona.metrics.statistics import (
    SWAPS,
    SwapTest,
    bootstrap,
    holm,
    p_value,
    percentile_interval,
    swap_test,
    task_seed,
)
from krona.report.runs import differing_training, read_setting
from krona.report.table import AVERAGE, Cell, Column, Row, Table
from krona.runs.predictions import score_metrics
from krona.runs.suspicious_scores import Examined, Remark, constant_scores

ALPHA = 0.05  # the level of all tests
METRICS = {"accuracy": "acc", "f1": "F1", "macro_f1": "macro F1", "matthews": "MCC", "pearson": "Pearson"}
METRICS |= {"spearman": "Spearman"}
LIMITS = ("data.train_rows", "trainer.max_steps", "trainer.max_epochs")  # of the length of a training
Examine = Callable[[Path], Examined]


def score_cell(runs: pd.DataFrame | None, split: str, examine: Examine, seeds: int | None = None) -> Cell | None:
    """Return a cell with the mean score of the finished runs of a row on one task, or None if no run is finished.

    The predictions of the first ``seeds`` runs are read. None means all runs.
    """
    if runs is None or (done := runs[runs[split].notna()].sort_values("seed", kind="stable")).empty:
        return None
    by_seed = {int(seed): float(score) for seed, score in zip(done.seed, done[split], strict=True)}
    cell = Cell(float(np.mean([*by_seed.values()])), done, by_seed)
    sampled = list(zip(done.seed.astype(int), done.path, strict=True))[:seeds]
    for seed, path in sampled:
        answers, found = examine(path)
        for remark in found[split]:
            cell.remarks.setdefault(remark, []).append(seed)
        if split in answers:
            cell.answers[seed] = answers[split]
    first = next(iter(cell.answers.values()), None)
    if first is None or any(not np.array_equal(one.truth, first.truth) for one in cell.answers.values()):
        cell.answers = {}
        return cell
    cell.examples, cell.draws = len(first), bootstrap(list(cell.answers.values()), metrics_of(cell))
    cell.test_interval = percentile_interval(cell.draws)
    constant = max(constant_scores(first, metrics_of(cell)))
    if cell.test_interval[0] <= constant and not cell.warned:
        text = f"the interval over examples is not above {constant:.2f}, the score of the best constant prediction"
        cell.remarks[Remark(text)] = cell.seeds
    return cell


def metrics_of(cell: Cell) -> list[str]:
    """Return the names of the metrics whose mean is the score of a cell."""
    assert cell.runs is not None
    return score_metrics(cell.runs.result.iloc[0].config["task"])


def score_column(key: str, label: str, kind: str, rows: Sequence[Row]) -> Column:
    """Return a column of scores, with the names of its metrics and the numbers of examples of its sets."""
    found = [row.cells[key] for row in rows if row.cells[key].value is not None]
    metric = ", ".join(METRICS.get(name, name) for name in metrics_of(found[0])) if found else ""
    return Column(key, label, kind, metric, tuple(sorted({cell.examples for cell in found if cell.examples})))


def paired_test(table: Table, a: Row, b: Row, task: str) -> SwapTest | None:
    """Return the paired test of two rows on a task over their common seeds.

    Return None if the rows have no common seed, different metrics, or different test sets.
    """
    if (a, b, task) not in table.tests:
        table.tests[a, b, task] = compare_cells(a.cells[task], b.cells[task], seed=task_seed(task))
    return table.tests[a, b, task]


def compare_cells(a: Cell, b: Cell, *, seed: int, swaps: int = SWAPS) -> SwapTest | None:
    """Return the paired test of two cells. `paired_test` describes the result."""
    metrics = metrics_of(a)
    if metrics != metrics_of(b):
        return None
    try:
        return swap_test(*common_answers(a, b), metrics, swaps=swaps, seed=seed)
    except ValueError:  # no common seed, or different test sets
        return None


def common_answers(a: Cell, b: Cell) -> tuple[list[Answers], list[Answers]]:
    """Return the answers of two cells for their common seeds."""
    seeds = sorted(a.answers.keys() & b.answers.keys())
    return [a.answers[seed] for seed in seeds], [b.answers[seed] for seed in seeds]


def mark_columns(table: Table, tasks: Sequence[str]) -> None:
    """Mark the best row of each task and the rows that tie with it."""
    for task in tasks:
        found = [row for row in comparable_rows(table.rows, task) if row.cells[task].value is not None]
        _mark_best(table, _choose_on_dev(found, [task], table.split), task, [task])


def add_averages(table: Table, tasks: Sequence[str]) -> None:
    """Add the average of each row that has scores on all tasks. Mark the best and the rows that tie with it."""
    for row in table.rows:
        lacking = [task_label(task) for task in tasks if row.cells[task].value is None]
        row.cells[AVERAGE] = Cell(missing=f"without {', '.join(lacking)}") if lacking else _average(row, tasks)
    places = set.intersection(*({*comparable_rows(table.rows, task)} for task in tasks))
    compared = [row for row in table.rows if row in places and row.cells[AVERAGE].value is not None]
    _mark_best(table, _choose_on_dev(compared, tasks, table.split), AVERAGE, tasks)


def _average(row: Row, tasks: Sequence[str]) -> Cell:
    """Return a cell with the mean over tasks. Its test interval is a bootstrap over the test sets of all tasks.

    If all tasks have the same seeds, the cell also has a score for each seed, which is the mean of this seed's scores.
    Otherwise it has none, because an interval over the common seeds would not fit a mean over all seeds.
    """
    parts = [row.cells[task] for task in tasks]
    same = all(part.by_seed.keys() == parts[0].by_seed.keys() for part in parts)
    seeds = sorted(parts[0].by_seed) if same else []
    by_seed = {seed: float(np.mean([part.by_seed[seed] for part in parts])) for seed in seeds}
    cell = Cell(float(np.mean([part.value for part in parts])), pd.concat([part.runs for part in parts]), by_seed)
    for task, part in zip(tasks, parts, strict=True):
        for remark, found in part.remarks.items():
            if remark.warns:
                text = f"{task_label(task)}: {remark.text}"
                cell.remarks[Remark(text, True, remark.unlearned, remark.invalid)] = found
    draws = [part.draws for part in parts if part.draws is not None]
    if len(draws) == len(parts):
        # Tasks are independent, but their draws came from generators with the same seed. So the draws are shuffled.
        rng = np.random.default_rng(0)
        cell.test_interval = percentile_interval(np.mean([rng.permutation(one) for one in draws], axis=0))
    return cell


def _mark_best(table: Table, rows: Sequence[Row], column: str, tasks: Sequence[str]) -> None:
    """Mark the best cells, and the cells that are not significantly different from them after Holm's correction.

    The test swaps predictions within each task and averages the differences over the ``tasks``. A row with too many
    invalid predictions is not tested, because it failed.
    """
    if len(rows) < 2:  # a single cell is not marked
        return
    top = max(rows, key=lambda row: row.cells[column].value or 0.0)
    found: list[tuple[Cell, float]] = []
    for row in rows:
        cell = row.cells[column]
        if row is not top and cell.failed:
            continue
        cell.compared = True
        cell.best = cell.value == top.cells[column].value
        tests = [] if row is top else [paired_test(table, row, top, task) for task in tasks]
        known = [test for test in tests if test is not None]
        if known and len(known) == len(tests):
            null = np.mean([test.null for test in known], axis=0)
            found.append((cell, p_value(float(np.mean([test.difference for test in known])), null)))
    for (cell, _), p in zip(found, holm([p for _, p in found]), strict=True):
        cell.p, cell.tied = p, p > ALPHA and not cell.best


def comparable_rows(rows: Sequence[Row], task: str) -> list[Row]:
    """Return the rows that are compared on a task: the largest group of rows with equal training.

    `differing_training` defines equal training. Of equally large groups, those in the paper's setting and with the
    longest training are returned. Rows that train nothing belong to every group.
    """
    with_runs = [row for row in rows if task in row.first]
    untrained = [row for row in with_runs if _length(row, task)[-1] == 0]
    groups: list[list[Row]] = []
    for row in with_runs:
        if row not in untrained:
            same = (one for one in groups if not differing_training(one[0].first[task], row.first[task]))
            if (group := next(same, None)) is None:
                groups.append(group := [])
            group.append(row)
    compared = max(groups, key=lambda group: _order(group, task), default=[])
    first = [*compared, *untrained][:1]
    return compared + [row for row in untrained if not differing_training(first[0].first[task], row.first[task])]


def _order(group: Sequence[Row], task: str) -> tuple[Any, ...]:
    first = group[0]
    return len({row.key for row in group}), len(group), first.first[task].section.comparable, _length(first, task)


def _length(row: Row, task: str) -> list[float]:
    """Return the `LIMITS` of a row's training. No limit is infinity."""
    limits = [read_setting(row.first[task], key) or "" for key in LIMITS]
    return [float(limit) if limit.isdigit() else float("inf") for limit in limits]


def label_other_training(rows: Sequence[Row], tasks: Sequence[str]) -> list[Row]:
    """Return the rows that are not compared on some task. Add what differs in their training to their settings."""
    found: dict[Row, None] = {}
    for task in tasks:
        compared = comparable_rows(rows, task)
        for row in rows:
            if task in row.first and row not in compared:
                found[row] = None
                for key in differing_training(compared[0].first[task], row.first[task]):
                    row.settings.setdefault(key, read_setting(row.first[task], key) or "not set")
    return [*found]


def _choose_on_dev(rows: Sequence[Row], tasks: Sequence[str], split: str) -> list[Row]:
    """Return the rows to compare. For test scores, these are each method's row with the best dev score."""
    if split != "test":
        return list(rows)
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(row.key, []).append(row)
    return [max(found, key=lambda row: _dev_score(row, tasks)) for found in by_method.values()]


def _dev_score(row: Row, tasks: Sequence[str]) -> float:
    """Return the mean over tasks of the mean dev score over seeds. A run without a dev score counts as 0."""
    done = (runs[runs.done] for runs in (row.runs[task] for task in tasks))
    return float(np.mean([runs.dev.fillna(0.0).mean() for runs in done]))
