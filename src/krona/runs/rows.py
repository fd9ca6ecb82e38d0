"""Read the rows of a run's predictions: the worst mistakes, and the scores of slices."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from krona import paths
from krona.messages import KronaError, did_you_mean
from krona.metrics.scores import need_scores, score_answers
from krona.metrics.scores.metric import Answers, encode
from krona.metrics.statistics import bootstrap, percentile_interval
from krona.runs.folder import RunFolder
from krona.runs.predictions import decode_label, encode_columns, is_multilabel, label_words, score_metrics
from krona.runs.result import Result

PredictionRow = Mapping[str, Any]  # a line of predictions.jsonl
MAX_SLICES = 50  # maximum number of values of a slice column


@dataclass(frozen=True)
class Mistake:
    """A row with a wrong prediction or, in a regression, with an error."""

    place: str  # the file and the line, or the id of the row
    target: str
    prediction: str
    # the probability of the wrong prediction, the largest error of a probability (multi-label), or the error
    size: float | None
    text: str
    columns: Mapping[str, Any]  # the other columns of the row in the data file


def read_split(run: RunFolder, split: str) -> list[PredictionRow]:
    """Return the rows of a split from predictions.jsonl.

    Raises:
        KronaError: the file is missing or damaged.
    """
    try:
        rows = [json.loads(line) for line in run.predictions.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if row["split"] == split]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KronaError(f"{run.predictions} cannot be read: {error}") from error


def find_mistakes(result: Result, rows: Sequence[PredictionRow]) -> list[Mistake]:
    """Return the mistakes, the worst first.

    The order is that of the probability of the wrong prediction or, if the run did not store probabilities, of the
    file. For a regression, it is that of the absolute error.
    """
    task = result.config["task"]
    words = label_words(task)
    decode = cache(partial(decode_label, task=task))
    mistakes = []
    for row in rows:
        target, prediction, size = row["target"].strip(), row["prediction"].strip(), None
        if prediction == target:
            continue
        if not words:
            answers = encode([target], [prediction], None)
            size = float(answers.predictions[0] - answers.targets[0])
        elif is_multilabel(task) and "scores" in row:
            own = zip(row["scores"].values(), words, strict=True)
            size = max(abs((share or 0.0) - (label in target.split())) for share, label in own)
        else:
            size = row.get("scores", {}).get(words.get(prediction))
        labels = [decode(text) for text in (target, prediction)]
        place = _place(row, task.get("files") or {})
        mistakes.append(Mistake(place, labels[0], labels[1], size, row["source"], row.get("columns") or {}))
    return sorted(mistakes, key=lambda mistake: -abs(mistake.size or 0.0))


def _place(row: PredictionRow, files: Mapping[str, str] | str) -> str:
    part = row["id"].rpartition("-")[0]
    file = files if isinstance(files, str) else files.get(part)
    return f"{Path(file).name}:{row['line']}" if file and "line" in row else row["id"]


def slice_columns(task: Mapping[str, Any]) -> list[str]:
    """Return the slice columns of a run's task: those of the run, and those that conf/task/NAME.yaml names now."""
    columns = [*_words(task.get("slices"))]
    if file := paths.choice_files("task").get(task["name"]):
        columns += _words((yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("slices"))
    return [*dict.fromkeys(columns)]


def _words(names: str | Sequence[str] | None) -> Sequence[str]:
    return [names] if isinstance(names, str) else names or []


def slice_scores(
    result: Result, runs: Sequence[Sequence[PredictionRow]], column: str
) -> Iterator[tuple[str, int, float, float, float]]:
    """Yield the value, the number of rows, the score and its interval for each value of a column of the data file.

    Args:
        result: one of the runs.
        runs: the rows of each run, such as runs with different seeds. The scores are means over the runs.
        column: the name of the column.

    Raises:
        KronaError: the rows do not have the column, or it has too many values.
    """
    known = [*dict.fromkeys(name for row in runs[0] for name in row.get("columns") or {})]
    if column not in known:
        raise KronaError(f"The rows of {result.run_id} have no column '{column}': {did_you_mean(column, known)}.")
    values = [[str(row["columns"].get(column) or "") for row in rows] for rows in runs]
    names = sorted({name for of_run in values for name in of_run})
    if len(names) > MAX_SLICES:
        raise KronaError(f"The column '{column}' has {len(names):,} values. A slice column has at most {MAX_SLICES}.")
    metrics = score_metrics(result.config["task"])
    for name in names:
        own = [
            _encode_rows(result, [row for row, value in zip(rows, of_run, strict=True) if value == name])
            for rows, of_run in zip(runs, values, strict=True)
        ]
        score = float(np.mean([[*score_answers(metrics, answers).values()] for answers in own]))
        yield name, len(own[0]), score, *percentile_interval(bootstrap(own, metrics))


def _encode_rows(result: Result, rows: Sequence[PredictionRow]) -> Answers:
    task = result.config["task"]
    names = [name for name in ("target", "prediction", "group") if name in rows[0]]
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in names}
    if need_scores(score_metrics(task)):
        columns["scores"] = [[*row["scores"].values()] for row in rows]
    return encode_columns(columns, task)
