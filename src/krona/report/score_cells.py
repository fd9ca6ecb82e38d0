"""Compute the cells of scores: means, intervals and averages. Mark the best of a column and the cells that tie with it.

If a method has several settings, the best setting is chosen by dev scores, never by test scores.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, replace
from functools import partial
from typing import Any

import numpy as np

from krona.metrics.scores.metric import Floats
from krona.metrics.statistics import holm, p_value, percentile_interval
from krona.paper import task_label
from krona.report.stored_runs import StoredRun, differing_training, finished
from krona.report.table import ALPHA, AVERAGE, Cell, Column, Row
from krona.runs.suspicious_scores import Remark, constant_scores

METRICS = {"accuracy": "acc", "f1": "F1", "macro_f1": "macro F1", "matthews": "MCC", "pearson": "Pearson"}
METRICS |= {"spearman": "Spearman"}
# A report of more than MOST_RUNS runs shows only the best rows, because each cell is resampled and compared.
MOST_RUNS = 5_000
MOST_CELLS = 240  # only its first tables, with about this number of cells, have intervals and tests
FEWEST_ROWS = 3  # each of its tables has at least this number of rows, if there are as many
MOST_SEEDS = 3  # its intervals over examples and paired tests use at most this number of seeds; its means use all seeds
CHOSEN = "Methods have several settings. The best is marked by dev scores, and test scores are shown next to them."
AMONG = "If a method has several rows, only its row with the best dev score is compared with the other methods."
OTHER_TRAINING = "Rows with other training settings or other data, which their labels name, are compared with nothing."


def score_cell(runs: Sequence[StoredRun], split: str, seeds: int | None = None) -> Cell | None:
    """Return a cell with the mean score of the finished runs of a row on one task, or None if no run is finished.

    The predictions of the first ``seeds`` runs are read. None means all runs.
    """
    done = sorted((run for run in runs if run.score(split) is not None), key=lambda run: run.result.seed)
    if not done:
        return None
    by_seed = {run.result.seed: run.score(split) or 0.0 for run in done}
    cell = Cell(float(np.mean([*by_seed.values()])), done, by_seed, split=split, sampled=done[:seeds])
    found = cell.compute("cell", None, lambda: _examine(cell))
    cell.examples, cell.test_interval = found["examples"], found["interval"] and tuple(found["interval"])
    cell.remarks = {Remark(*remark): seeds for remark, seeds in found["remarks"]}
    return cell


def _examine(cell: Cell) -> dict[str, Any]:
    """Return the number of examples of a cell, its interval over examples, and the remarks on its score."""
    found: dict[Remark, list[int]] = {}
    for run in cell.sampled:
        for remark in run.predictions[1][cell.split]:
            found.setdefault(remark, []).append(run.result.seed)
    examples, interval = None, None
    if cell.answers:
        answers = next(iter(cell.answers.values()))
        examples, interval = len(answers), percentile_interval(cell.draws)
        constant = max(constant_scores(answers, cell.runs[0].metrics))
        if interval[0] <= constant and not any(remark.warns for remark in found):
            text = f"the interval over examples is not above {constant:.2f}, the score of the best constant prediction"
            found[Remark(text)] = cell.seeds
    remarks = [(astuple(remark), seeds) for remark, seeds in found.items()]
    return {"examples": examples, "interval": interval, "remarks": remarks}


def score_column(key: str, label: str, kind: str, rows: Sequence[Row]) -> Column:
    """Return a column of scores, with the names of its metrics and the numbers of examples of its sets."""
    found = [row.cells[key] for row in rows if row.cells[key].value is not None]
    metric = ", ".join(METRICS.get(name, name) for name in found[0].runs[0].metrics) if found else ""
    sizes = {cell.examples for cell in found if cell.examples}
    return Column(key, label, kind, metric, tuple(sorted(sizes)))


def average(parts: Sequence[Cell]) -> Cell:
    """Return a cell with the mean over tasks. Its test interval is a bootstrap over the test sets of all tasks.

    If all tasks have the same seeds, the cell also has a score for each seed, which is the mean of this seed's scores.
    Otherwise it has none, because an interval over the common seeds would not fit a mean over all seeds.
    """
    same = all(part.by_seed.keys() == parts[0].by_seed.keys() for part in parts)
    seeds = sorted(parts[0].by_seed) if same else []
    by_seed = {seed: float(np.mean([part.by_seed[seed] for part in parts])) for seed in seeds}
    runs = [run for part in parts for run in part.runs]
    cell = Cell(float(np.mean([part.value for part in parts])), runs, by_seed, split=parts[0].split)
    for part in parts:
        task = task_label(part.runs[0].result.task)
        warnings = {remark: seeds for remark, seeds in part.remarks.items() if remark.warns}
        cell.remarks |= {replace(remark, text=f"{task}: {remark.text}"): seeds for remark, seeds in warnings.items()}
    if all(part.test_interval for part in parts):
        others = [part.sources for part in parts]
        low, high = parts[0].compute("average", others, lambda: percentile_interval(_average_draws(parts)))
        cell.test_interval = low, high
    return cell


def _average_draws(parts: Sequence[Cell]) -> Floats:
    # Tasks are independent, but their draws came from generators with the same seed. So the draws are shuffled.
    rng = np.random.default_rng(0)
    return np.asarray(np.mean([rng.permutation(part.draws) for part in parts], axis=0))


def _mark_best(rows: Sequence[Row], column: str, tasks: Sequence[str]) -> None:
    """Mark the best cells, and the cells that are not significantly different from them after Holm's correction.

    The test swaps predictions within each task and averages the differences over the tasks.

    Args:
        rows: the compared rows.
        tasks: the compared score is the mean over these tasks.
    """
    if len(rows) < 2:  # a single cell is not marked
        return
    top = max(rows, key=lambda row: row.cells[column].value or 0.0)
    rows = [row for row in rows if row is top or not row.cells[column].failed]
    found: list[tuple[Cell, float]] = []
    for row in rows:
        cell = row.cells[column]
        cell.compared = True
        cell.best = cell.value == top.cells[column].value
        if row is top:
            continue
        pairs = [(row.cells[task], top.cells[task]) for task in tasks]
        others = [(a.sources, b.sources) for a, b in pairs]
        p = pairs[0][0].compute("test", others, partial(_combined_p, pairs))
        if p is not None:
            found.append((cell, p))
    for (cell, _), p in zip(found, holm([p for _, p in found]), strict=True):
        cell.p, cell.tied = p, p > ALPHA and not cell.best


def _combined_p(pairs: Sequence[tuple[Cell, Cell]]) -> float | None:
    """Return the p-value of the mean difference of several pairs, or None if one of them cannot be tested."""
    tests = [test for a, b in pairs if (test := a.test_against(b)) is not None]
    if len(tests) < len(pairs):
        return None
    null = np.mean([test.null for test in tests], axis=0)
    return p_value(float(np.mean([test.difference for test in tests])), null)


def mark_columns(rows: Sequence[Row], tasks: Sequence[str], split: str) -> None:
    """Mark the best row of each task and the rows that tie with it."""
    for task in tasks:
        found = [row for row in comparable_rows(rows, task) if row.cells[task].value is not None]
        _mark_best(_chosen_on_dev(found, [task], split), task, [task])


def add_averages(rows: Sequence[Row], tasks: Sequence[str], split: str) -> None:
    """Add the average of each row that has scores on all tasks. Mark the best and the rows that tie with it."""
    for row in rows:
        lacking = [task_label(task) for task in tasks if row.cells[task].value is None]
        parts = [row.cells[task] for task in tasks]
        row.cells[AVERAGE] = Cell(missing=f"without {', '.join(lacking)}") if lacking else average(parts)
    places = set.intersection(*({*comparable_rows(rows, task)} for task in tasks))
    compared = [row for row in rows if row in places and row.cells[AVERAGE].value is not None]
    _mark_best(_chosen_on_dev(compared, tasks, split), AVERAGE, tasks)


def comparable_rows(rows: Sequence[Row], task: str) -> list[Row]:
    """Return the rows that are compared on a task: the largest group of rows with equal training.

    `differing_training` defines equal training. Of equally large groups, those in the paper's setting and with the
    longest training are returned. Rows that train nothing belong to every group.
    """
    with_runs = [row for row in rows if row.runs.get(task)]
    untrained = [row for row in with_runs if _length(row, task)[-1] == 0]
    groups: list[list[Row]] = []
    for row in with_runs:
        if row not in untrained:
            same = (one for one in groups if not _differing_training(one[0], row, task))
            if (group := next(same, None)) is None:
                groups.append(group := [])
            group.append(row)
    compared = max(groups, key=lambda group: _order(group, task), default=[])
    first = [*compared, *untrained][:1]
    return compared + [row for row in untrained if not _differing_training(first[0], row, task)]


def _order(group: Sequence[Row], task: str) -> tuple[Any, ...]:
    first = group[0]
    in_papers_setting = first.representative(task).section.comparable
    return len({row.key for row in group}), len(group), in_papers_setting, _length(first, task)


def _length(row: Row, task: str) -> list[float]:
    """Return the limits of a row's training: rows, steps and epochs."""
    run = row.representative(task)
    limits = [run.setting(key) or "" for key in ("data.train_rows", "trainer.max_steps", "trainer.max_epochs")]
    return [float(limit) if limit.isdigit() else float("inf") for limit in limits]


def _differing_training(a: Row, b: Row, task: str) -> list[str]:
    return differing_training(a.representative(task), b.representative(task))


def label_other_training(rows: Sequence[Row], tasks: Sequence[str]) -> list[Row]:
    """Return the rows that are not compared on some task. Add what differs in their training to their settings."""
    found: dict[Row, None] = {}
    for task in tasks:
        compared = comparable_rows(rows, task)
        for row in rows:
            if row.runs.get(task) and row not in compared:
                found[row] = None
                run, keys = row.representative(task), _differing_training(compared[0], row, task)
                for key in [key for key in keys if key not in run.content] or keys:
                    row.settings.setdefault(key, run.setting(key) or "not set")
    return [*found]


def _chosen_on_dev(rows: Sequence[Row], tasks: Sequence[str], split: str) -> list[Row]:
    """Return the rows to compare. For test scores, these are each method's row with the best dev score."""
    if split != "test":
        return list(rows)
    of_method = defaultdict(list)
    for row in rows:
        of_method[row.key].append(row)
    return [max(found, key=lambda row: _dev_score(row, tasks)) for found in of_method.values()]


def _dev_score(row: Row, tasks: Sequence[str]) -> float:
    """Return the mean over tasks of the mean dev score over seeds. A run without a dev score counts as 0."""
    scores = [[run.score("dev") or 0.0 for run in finished(row.runs[task])] for task in tasks]
    return float(np.mean([np.mean(found) for found in scores]))


def best_rows(rows: Sequence[Row], split: str, *, most: int, seeds: int) -> tuple[list[Row], list[str]]:
    """Return the best ``most`` rows, in the order of ``rows``, and notes on what the report leaves out.

    A row is better if it has scores on more tasks or, for an equal number of tasks, a higher mean score. Rows without
    runs are kept, because a table also shows missing runs.
    """

    def standing(row: Row) -> tuple[int, float]:
        scores = [[score for run in runs if (score := run.score(split)) is not None] for runs in row.runs.values()]
        means = [float(np.mean(found)) for found in scores if found]
        return len(means), float(np.mean(means)) if means else 0.0

    filled = [row for row in rows if row.runs]
    kept = {*sorted(filled, key=standing, reverse=True)[:most]}
    few = f"only the first {seeds} seeds of a cell are resampled and compared."
    none = "this table is without intervals and tests. Use --where or --sweep to show them."
    notes = [f"With over {MOST_RUNS:,} runs, {few if seeds else none}"]
    if len(kept) < len(filled):
        notes.insert(0, f"The best {most} of {len(filled):,} rows are shown. To see others, use --where or --sweep.")
    return [row for row in rows if row in kept or not row.runs], notes
