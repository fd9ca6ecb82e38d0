"""Compute score cells, and choose the rows that are compared.

Only rows with equal training are compared. If a method has several settings, the best setting is chosen by dev scores,
never by test scores.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from krona.display_names import task_label
from krona.metrics.compare_methods import Sample, row_contributions
from krona.metrics.scores.metric import Answers
from krona.metrics.statistics import bootstrap, percentile_interval
from krona.report.pairs import compare_rows
from krona.report.runs import ReportRun, Runs, differing_training, group_by, read_setting
from krona.report.sentences import cell_messages
from krona.report.table import AVERAGE, Cell, Column, Row, Table
from krona.report.text import cell_details, cell_mark, cell_value
from krona.runs.predictions import SPLITS, score_metrics
from krona.runs.suspicious_scores import SIGN, Examined

METRICS = {
    "accuracy": "acc", "f1": "F1", "macro_f1": "macro F1", "micro_f1": "micro F1", "matthews": "MCC",
    "subset_accuracy": "subset acc", "pearson": "Pearson", "spearman": "Spearman", "roc_auc": "AUC",
}  # fmt: skip
LIMITS = ("data.train_rows", "trainer.max_steps", "trainer.max_epochs")  # keys that limit the length of training
Examine = Callable[[ReportRun], Examined]


def examine_nothing(run: ReportRun) -> Examined:
    """Read no predictions, and return no messages."""
    return {}, {split: [] for split in SPLITS}


def score_cell(runs: Runs, split: str, examine: Examine) -> Cell | None:
    """Return a cell with the mean score of a row's runs on one task, or None if no run has a score."""
    scored = sorted((run for run in runs if split in run.scores), key=lambda run: run.seed)
    if not scored:
        return None
    by_seed = {run.seed: run.scores[split] for run in scored}
    cell = Cell(float(np.mean([*by_seed.values()])), scored, by_seed)
    answers: dict[int, Answers] = {}
    for run in scored:
        by_split, messages = examine(run)
        for message in messages[split]:
            cell.messages.setdefault(message, []).append(run.seed)
        if split in by_split:
            answers[run.seed] = by_split[split]
    if not answers:
        return cell
    first, *others = answers.values()
    if any(not np.array_equal(other.targets, first.targets) for other in others):
        return cell
    metrics, cell.answers = metrics_of(cell), (*answers.values(),)
    cell.examples, cell.draws = len(first), bootstrap(cell.answers, metrics)
    cell.test_interval = percentile_interval(cell.draws)
    if first.units > 1:
        cell.samples = (Sample(row_contributions(cell.answers, metrics)),)
        cell.test_sets = ((*metrics, first.units, zlib.crc32(first.targets.tobytes())),)
    return cell


def cell_frame(table: Table) -> pd.DataFrame:
    """Return a line for each cell of a table, by the row's position and the column's key. All formats read it.

    After `CSV_COLUMNS`, the line has the text of the cell, its marks and its further lines; whether it is compared; the
    interval over seeds that reports show; and the value of each metric.
    """
    lines = []
    for row, column in product(table.rows, table.columns):
        cell = row.cell(column.key)
        line: dict[str, Any] = {
            "table": table.name, "section": table.heading, "row": row.label, "differs": row.differs,
            "column": column.key, "metric": column.metric, "value": cell.value, "paper": cell.paper,
            "seeds": " ".join(map(str, cell.seeds)), "difference": cell.difference, "best": int(cell.best),
            "not_told_apart": int(cell.tied), "p_holm": cell.p, "against_reference": cell.sign,
            "mark": SIGN * cell.warned, "messages": " ".join(cell_messages(cell)), "warning": table.warning,
            "missing": cell.missing, "runs": " ".join(run.run_id for run in cell.runs), "text": cell_value(cell),
            "marks": cell_mark(cell), "details": cell_details(cell), "compared": cell.compared,
        }  # fmt: skip
        for kind, ends in (("t_", cell.t_interval), ("test_", cell.test_interval), ("", cell.seed_interval)):
            line[f"{kind}low"], line[f"{kind}high"] = ends or (None, None)
        if table.section is not None and column.kind in ("task", "other_split"):
            split = table.split if column.kind == "task" else column.key.rpartition(" ")[2]
            parts = {run.seed: getattr(run.result, split)["parts"] for run in cell.runs if split in run.scores}
            line |= pd.DataFrame(parts).mean(axis=1).to_dict() if parts else {}
        lines.append(line)
    index = pd.MultiIndex.from_product([range(len(table.rows)), [column.key for column in table.columns]])
    return pd.DataFrame(lines, index, dtype=object)


def metrics_of(cell: Cell) -> list[str]:
    """Return the names of the metrics whose mean is the score of a cell."""
    return score_metrics(cell.runs[0].result.config["task"])


def score_column(key: str, label: str, kind: str, rows: Sequence[Row]) -> Column:
    """Return a score column, with the names of its metrics and the sizes of its data sets."""
    cells = [row.cells[key] for row in rows if row.cells[key].value is not None]
    metric = ", ".join(METRICS.get(name, name) for name in metrics_of(cells[0])) if cells else ""
    counts = {len(cell.by_seed) for cell in cells}
    for cell in cells:
        cell.shows_seeds = len(counts) > 1
    sizes = tuple(sorted({cell.examples for cell in cells if cell.examples}))
    return Column(key, label, kind, metric, sizes, counts.pop() if len(counts) == 1 else None)


def mark_columns(table: Table, columns: Mapping[str, Sequence[str]], baseline: str) -> list[dict[str, Any]]:
    """Set the reference rows of columns, test and mark their rows, and return a line for each pair of rows.

    The reference is the row with the name ``baseline`` (`names_row`), if it is compared.

    Args:
        columns: maps the key of each column to its tasks. Holm's correction is applied to all of these columns.
    """
    compared = {}
    for column, tasks in columns.items():
        equal = set.intersection(*({*comparable_rows(table.rows, task)} for task in tasks))
        rows = [row for row in table.rows if row in equal and row.cells[column].value is not None]
        if not table.compares_all_rows:  # only each method's row with the best dev score
            by_method = group_by(rows, lambda row: row.key).values()
            rows = [max(variants, key=lambda row: _dev_score(row, tasks)) for variants in by_method]
        compared[column] = rows
        if named := [row for row in rows if names_row(baseline, row)]:
            # If several rows have this name, the row with the best dev score is the reference.
            table.references[column] = max(named, key=lambda row: (row.name == baseline, _dev_score(row, tasks)))
    return compare_rows(table, compared)


def average_tasks(table: Table, tasks: Sequence[str]) -> None:
    """Add the mean over tasks to each row with scores on all tasks."""
    for row in table.rows:
        lacking = [task_label(task) for task in tasks if row.cells[task].value is None]
        row.cells[AVERAGE] = Cell(missing=f"without {', '.join(lacking)}") if lacking else _average(row, tasks)


def names_row(baseline: str, row: Row) -> bool:
    """Return whether a reference is the name of a method, or the label or the whole name of a row."""
    return baseline.casefold() in {name.casefold() for name in (row.key, row.method, row.label, row.name)}


def _average(row: Row, tasks: Sequence[str]) -> Cell:
    """Return a cell with the mean over tasks. The test interval is from a bootstrap over the test sets of all tasks.

    If all tasks have the same seeds, the cell also has a score for each seed: the mean of the seed's scores over the
    tasks. Otherwise, the cell has no scores by seed, because an interval over the common seeds would not fit a mean
    over all seeds.
    """
    parts = [row.cells[task] for task in tasks]
    same = all(part.by_seed.keys() == parts[0].by_seed.keys() for part in parts)
    seeds = sorted(parts[0].by_seed) if same else []
    by_seed = {seed: float(np.mean([part.by_seed[seed] for part in parts])) for seed in seeds}
    runs = [run for part in parts for run in part.runs]
    cell = Cell(float(np.mean([part.value for part in parts])), runs, by_seed)
    for task, part in zip(tasks, parts, strict=True):
        for message, seeds_with_message in part.messages.items():
            if message.warns:
                cell.messages[replace(message, text=f"{task_label(task)}: {message.text}")] = seeds_with_message
    draws = [part.draws for part in parts if part.draws is not None]
    if len(draws) == len(parts):
        # The draws of all tasks come from generators with the same seed. Shuffling makes the draws independent.
        rng = np.random.default_rng(0)
        cell.test_interval = percentile_interval(np.mean([rng.permutation(values) for values in draws], axis=0))
    if all(part.samples for part in parts):
        cell.samples = tuple(sample for part in parts for sample in part.samples)
        cell.test_sets = tuple(test_set for part in parts for test_set in part.test_sets)
    return cell


def comparable_rows(rows: Sequence[Row], task: str) -> list[Row]:
    """Return the rows that are compared on a task: the largest group of rows with equal training.

    `differing_training` defines equal training. The largest group has the most methods and, among several such groups,
    the most rows. If several groups are equally large, prefer the paper's setting, and then the longest training. Rows
    without training are added to this group if their other settings do not differ.
    """
    with_runs = [row for row in rows if task in row.first]
    untrained = [row for row in with_runs if _length(row, task)[-1] == 0]
    groups: list[list[Row]] = []
    for row in with_runs:
        if row not in untrained:
            equal = (group for group in groups if not differing_training(group[0].first[task], row.first[task]))
            if (equal_group := next(equal, None)) is None:
                groups.append(equal_group := [])
            equal_group.append(row)

    def order(group: Sequence[Row]) -> tuple[int, int, bool, list[float]]:
        comparable = group[0].first[task].comparable
        return len({row.key for row in group}), len(group), comparable, _length(group[0], task)

    compared = max(groups, key=order, default=[])
    first = [*compared, *untrained][:1]
    return compared + [row for row in untrained if not differing_training(first[0].first[task], row.first[task])]


def _length(row: Row, task: str) -> list[float]:
    """Return the values of the settings `LIMITS` for a row. Without a limit, the value is infinite."""
    limits = [read_setting(row.first[task], key) or "" for key in LIMITS]
    return [float(limit) if limit.isdigit() else float("inf") for limit in limits]


def label_other_training(rows: Sequence[Row], tasks: Sequence[str]) -> list[Row]:
    """Return the rows that are not compared on at least one task.

    Also add the differing training settings to the settings of these rows.
    """
    others: dict[Row, None] = {}
    for task in tasks:
        compared = comparable_rows(rows, task)
        for row in rows:
            if task in row.first and row not in compared:
                others[row] = None
                for key in differing_training(compared[0].first[task], row.first[task]):
                    row.settings.setdefault(key, read_setting(row.first[task], key) or "not set")
    return [*others]


def _dev_score(row: Row, tasks: Sequence[str]) -> float:
    """Return a row's dev score, averaged over seeds and then over tasks. A run without a dev score counts as 0."""
    scores = [[run.scores.get("dev", 0.0) for run in row.runs[task] if run.done] for task in tasks]
    return float(np.mean([np.mean(scores_of_task) for scores_of_task in scores]))
