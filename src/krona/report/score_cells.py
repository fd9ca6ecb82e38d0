"""Compute the cells of scores: means, intervals and averages. Mark the best of a column and the cells that tie with it.

If a method has several settings, the best setting is chosen by dev scores, never by test scores.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, replace
from functools import partial
from typing import Any

import numpy as np

from krona.metrics.metric import Floats
from krona.metrics.statistics import holm, p_value, percentile_interval
from krona.report.grouping import Group, differing_data
from krona.report.labels import task_label
from krona.report.stored_runs import StoredRun
from krona.report.table import ALPHA, Cell, Column
from krona.runs.suspicious_scores import Remark, constant_scores

METRICS = {"accuracy": "acc", "f1": "F1", "macro_f1": "macro F1", "matthews": "MCC", "pearson": "Pearson"}
METRICS |= {"spearman": "Spearman"}
# A report of more than MOST_RUNS runs shows only the best rows, because each cell is resampled and compared.
MOST_RUNS = 5_000
MOST_CELLS = 240  # only its first tables, with about this number of cells, have intervals and tests
FEWEST_ROWS = 3  # each of its tables has at least this number of rows, if there are as many
MOST_SEEDS = 3  # its intervals over examples and paired tests use at most this number of seeds; its means use all seeds
CHOSEN = "Methods have several settings. The best is marked by dev scores, and test scores are shown next to them."
AMONG = "If a method has several rows, only its row with the best dev score can be marked as the best."
OTHER_ROWS = "Runs with fewer training rows, or on other data, are not compared with the best."

TaskCells = dict[str, Cell | None]  # a row's cells by task


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


def score_column(key: str, label: str, kind: str, cells: Sequence[Cell | None]) -> Column:
    """Return a column of scores, with the names of its metrics and the numbers of examples of its sets."""
    found = [cell for cell in cells if cell is not None]
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
    cell = Cell(float(np.mean([part.value for part in parts])), runs, by_seed)
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


def _mark_best(scored: Mapping[int, Cell], parts: Mapping[int, Sequence[Cell]], *, fit: Sequence[int]) -> None:
    """Mark the best cells, and the cells that are not significantly different from them after Holm's correction.

    The test swaps predictions within each task and averages the differences over the tasks.

    Args:
        scored: the compared cell of each row, by the row's index.
        parts: the cells of each row on single tasks. The compared score is their mean.
        fit: the indices of the rows that can be the best.
    """
    if len(scored) < 2 or not fit:  # a single cell is not marked
        return
    top = max(fit, key=lambda i: scored[i].value or 0.0)
    found: list[tuple[Cell, float]] = []
    for i, cell in scored.items():
        cell.compared = True
        cell.best = i in fit and cell.value == scored[top].value
        if i == top:
            continue
        pairs = [*zip(parts[i], parts[top], strict=True)]
        others = [(a.sources, b.sources, a.test_seed) for a, b in pairs]
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


def mark_columns(groups: list[Group], tasks: list[str], scored: list[TaskCells], split: str) -> None:
    """Mark the best row of each task and the rows that tie with it."""
    for place, task in enumerate(tasks):
        found = {i: cell for i in comparable_rows(groups, task) if (cell := scored[i][task]) is not None}
        for cell in found.values():
            cell.test_seed = place
        _mark_best(found, {i: [cell] for i, cell in found.items()}, fit=_fit(groups, found, [task], split))


def mark_averages(groups: list[Group], tasks: list[str], scored: list[TaskCells], split: str) -> dict[int, Cell]:
    """Return the average of each row that has scores on all tasks. Mark the best and the rows that tie with it."""
    parts = {i: [cell for cell in row.values() if cell is not None] for i, row in enumerate(scored)}
    averages = {i: average(cells) for i, cells in parts.items() if len(cells) == len(tasks)}
    places = set.intersection(*(set(comparable_rows(groups, task)) for task in tasks))
    compared = {i: cell for i, cell in averages.items() if i in places}
    _mark_best(compared, parts, fit=_fit(groups, compared, tasks, split))
    return averages


def comparable_rows(groups: Sequence[Group], task: str) -> list[int]:
    """Return the indices of the rows with the largest ``data.train_rows``, or [] if the data of these rows differ."""
    first = {i: one.runs[task][0] for i, one in enumerate(groups) if one.runs.get(task)}
    sizes = {i: run.setting("data.train_rows") or "" for i, run in first.items()}
    numbers = {i: float(size) if size.isdigit() else float("inf") for i, size in sizes.items()}
    most = [i for i in first if numbers[i] == max(numbers.values())]
    return [] if any(differing_data(first[most[0]], first[i]) for i in most) else most


def _fit(groups: Sequence[Group], places: Iterable[int], tasks: Sequence[str], split: str) -> list[int]:
    """Return the rows that can be the best. For test scores, these are each method's row with the best dev score."""
    if split != "test":
        return list(places)
    of_method = defaultdict(list)
    for place in places:
        of_method[groups[place].key].append(place)
    return [max(rows, key=lambda place: _dev_score(groups[place], tasks)) for rows in of_method.values()]


def _dev_score(one: Group, tasks: Sequence[str]) -> float:
    """Return the mean over tasks of the mean dev score over seeds. A run without a dev score counts as 0."""
    scores = [[run.score("dev") or 0.0 for run in one.runs[task] if run.status == "done"] for task in tasks]
    return float(np.mean([np.mean(found) for found in scores]))


def best_groups(groups: Sequence[Group], split: str, *, rows: int, seeds: int) -> tuple[list[Group], list[str]]:
    """Return the best ``rows`` groups, in the order of ``groups``, and notes on what the report leaves out.

    A group is better if it has scores on more tasks or, for an equal number of tasks, a higher mean score. Groups
    without runs are kept, because a table also shows missing runs.
    """

    def standing(one: Group) -> tuple[int, float]:
        scores = [[score for run in runs if (score := run.score(split)) is not None] for runs in one.runs.values()]
        means = [float(np.mean(found)) for found in scores if found]
        return len(means), float(np.mean(means)) if means else 0.0

    filled = [one for one in groups if one.runs]
    kept = {id(one) for one in sorted(filled, key=standing, reverse=True)[:rows]}
    few = f"only the first {seeds} seeds of a cell are resampled and compared."
    none = "this table is without intervals and tests. Use --where or --sweep to show them."
    notes = [f"With over {MOST_RUNS:,} runs, {few if seeds else none}"]
    if len(kept) < len(filled):
        notes.insert(0, f"The best {rows} of {len(filled):,} rows are shown. To see others, use --where or --sweep.")
    return [one for one in groups if id(one) in kept or not one.runs], notes
