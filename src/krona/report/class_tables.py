"""Build tables of the scores of each class, the confusion matrix, residuals and slices."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from krona.messages import KronaError, plural, shorten
from krona.metrics.class_scores import class_scores, confused_pairs, confusion, residuals
from krona.metrics.scores.metric import Answers
from krona.report.table import Cell, Row, Table
from krona.runs.folder import RunFolder
from krona.runs.predictions import label_words
from krona.runs.rows import PredictionRow, read_split, slice_columns, slice_scores

MAX_MATRIX = 12  # maximum number of classes of a confusion matrix; for more classes, pairs are listed
MAX_PAIRS = 20
MAX_CLASSES = 40  # maximum number of classes in a table
MAX_ROWS = 6  # a report has these tables for at most this number of rows, the best ones
MAX_LABEL = 40  # longer labels are shortened
SCORES = ("precision", "recall", "F1", "rows")


def answer_tables(answers: Sequence[Answers], words: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield pairs (title, table of texts) on the predictions of a method: means over the runs with different seeds.

    Args:
        answers: the answers of each run on one split.
        words: the labels of the task by id. An empty list means a regression.
    """
    if not words:
        errors = pd.DataFrame([residuals(answer) for answer in answers]).mean()
        yield "prediction − target", pd.DataFrame([[f"{value:.4g}" for value in errors]], columns=[*errors.index])
        return
    names = [shorten(word, MAX_LABEL) for word in words]
    yield _class_table(answers, names)
    if not answers[0].is_multilabel:  # in a multi-label task, a target and a prediction are not a pair of labels
        yield _confusion_table(answers, names)


def _class_table(answers: Sequence[Answers], names: Sequence[str]) -> tuple[str, pd.DataFrame]:
    runs = [class_scores(answers_of_run) for answers_of_run in answers]
    frames = [
        pd.DataFrame(np.column_stack([run.precision, run.recall, run.f1, run.rows]), index=run.ids, columns=SCORES)
        for run in runs
    ]
    scores = pd.concat(frames).groupby(level=0).mean()
    means = pd.concat([pd.DataFrame(run.averages()) for run in runs]).groupby(level=0).mean()
    shown = scores.loc[scores.F1.nsmallest(MAX_CLASSES, keep="first").index.sort_values()]
    texts = shown.map("{:.2f}".format).assign(rows=shown.rows.map("{:,.0f}".format))
    texts.insert(0, "label", [names[label] for label in shown.index])
    averages = [[name, *(f"{value:.2f}" for value in means[name]), ""] for name in means]
    some = f" ({MAX_CLASSES} classes with the lowest F1)" if len(scores) > MAX_CLASSES else ""
    return f"scores of each class{some}", pd.concat([texts, pd.DataFrame(averages, columns=texts.columns)])


def _confusion_table(answers: Sequence[Answers], names: Sequence[str]) -> tuple[str, pd.DataFrame]:
    counts = np.mean([confusion(answer) for answer in answers], axis=0)
    digits = 0 if len(answers) == 1 else 1
    columns = [*names, "no label"]
    if len(names) > MAX_MATRIX:
        pairs = confused_pairs(counts, MAX_PAIRS)
        lines = [[names[target], columns[given], f"{count:,.{digits}f}"] for target, given, count in pairs]
        return "most frequent mistakes", pd.DataFrame(lines, columns=["target", "prediction", "rows"])
    used = len(columns) if counts[:, -1].any() else len(names)
    lines = [[name, *(f"{count:,.{digits}f}" for count in row[:used])] for name, row in zip(names, counts, strict=True)]
    title = "confusion matrix (a row for each target, a column for each prediction)"
    return title, pd.DataFrame(lines, columns=["", *columns[:used]])


def row_tables(table: Table) -> Iterator[tuple[str, list[tuple[str, pd.DataFrame]]]]:
    """Yield pairs (row and task, tables of its predictions) for the best rows of each task, the best first."""
    for column in table.task_columns:
        for row in _best_rows(table, column.key):
            answers = row.cell(column.key).answers
            seeds = "" if len(answers) == 1 else f" (mean of {plural(len(answers), 'seed')})"
            words = [*label_words(_task(row.cell(column.key))).values()]
            yield f"{row.name} on {column.label}{seeds}", [*answer_tables(answers, words)]


def slice_tables(table: Table) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield pairs (title, scores of the best rows by the values of a column) for each of `slice_columns`."""
    for task in table.task_columns:
        read = cache(lambda path: read_split(RunFolder(path.parent), table.split))
        rows = _best_rows(table, task.key)
        for name in slice_columns(_task(rows[0].cell(task.key))) if rows else ():
            try:
                lines = [line for row in rows for line in _slice_lines(row, task.key, name, read)]
            except KronaError as error:
                yield f"{task.label} by {name}", pd.DataFrame({"No scores": [str(error)]})
                continue
            frame = pd.DataFrame(lines, columns=[name, "rows", "row", "score"])
            wide = frame.pivot(index=[name, "rows"], columns="row", values="score").fillna("")
            yield f"{task.label} by {name}", wide[[row.name for row in rows]].reset_index()


def _slice_lines(
    row: Row, task: str, column: str, read: Callable[[Path], list[PredictionRow]]
) -> Iterator[tuple[str, str, str, str]]:
    runs = row.cell(task).runs
    for value, rows, score, low, high in slice_scores(runs[0].result, [read(run.path) for run in runs], column):
        yield value or "(empty)", f"{rows:,}", row.name, f"{score:.2f} [{low:.1f}, {high:.1f}]"


def _best_rows(table: Table, task: str) -> list[Row]:
    rows = [row for row in table.rows if row.cell(task).answers]
    return sorted(rows, key=lambda row: -(row.cell(task).value or 0.0))[:MAX_ROWS]


def _task(cell: Cell) -> Any:
    return cell.runs[0].result.config["task"]
