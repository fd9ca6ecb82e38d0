"""Read the predictions of a run, check and decode them, and find the worst mistakes and the scores of slices."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from krona import paths
from krona.messages import KronaError, did_you_mean, plural
from krona.metrics.scores import METRICS, criteria, need_scores, score_answers
from krona.metrics.scores.metric import EMPTY_SET, NUMBER, Answers, encode, parse_set
from krona.metrics.statistics import bootstrap, percentile_interval
from krona.runs.folder import RunFolder
from krona.runs.result import Result

TOLERANCE = 1e-6  # largest accepted difference between a stored score and the score of the stored predictions
SPLITS = ("dev", "test")
PredictionRow = Mapping[str, Any]  # a line of predictions.jsonl
MAX_SLICES = 50  # maximum number of values of a slice column


class DamagedRunError(KronaError):
    """The error for a run whose result.json cannot be read or used."""

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


@dataclass(frozen=True)
class Outcomes:
    """The predictions of a split as texts, and its answers (targets and predictions as label ids or numbers)."""

    predictions: list[str]
    answers: Answers


def read_rows(path: Path, *columns: str, labels: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Return columns of a predictions.jsonl by name. The column ``scores`` contains a number for each of ``labels``.

    Raises:
        KronaError: the file cannot be read, or a row lacks one of the columns.
    """
    import pyarrow.json  # the import takes 0.1 s

    shares = pyarrow.struct([(label, pyarrow.float64()) for label in labels])
    schema = pyarrow.schema([(name, shares if name == "scores" else pyarrow.string()) for name in columns])
    parse = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        read = pyarrow.json.ReadOptions(block_size=path.stat().st_size + 1)  # a row must fit into one block
        table = pyarrow.json.read_json(path, read_options=read, parse_options=parse)
    except (OSError, pyarrow.ArrowException) as error:
        raise KronaError(f"{path} is damaged: {error}") from error
    for name in columns:
        if count := table[name].null_count:
            raise KronaError(f"{path} is damaged: {plural(count, 'row')} without {name}")
    values = {name: table[name].to_pylist() for name in columns}
    if "scores" in values:
        values["scores"] = [[row[label] for label in labels] for row in values["scores"]]
    return values


def read_outcomes(result: Result, path: Path) -> dict[str, Outcomes]:
    """Return the outcomes of dev and test from a finished run's predictions.jsonl.

    Return an empty dict if the run is not done or the file is missing.

    Raises:
        KronaError: the file is damaged, the scores of the predictions differ from the scores in ``result``, or this
            version of krona does not have a metric of the task's score.
    """
    if result.status != "done" or not path.exists():
        return {}
    outcomes, task = {}, result.config["task"]
    try:
        names = ["group"] if task.get("group_columns") else []
        names += ["scores"] if need_scores(score_metrics(task)) else []
        read = read_rows(path, "split", "target", "prediction", *names, labels=[*label_words(task).values()])
        if unknown := [name for name in score_metrics(task) if name not in METRICS]:
            raise KronaError(
                f"unknown metric {', '.join(unknown)}, so there are no intervals and tests. Use the version of krona "
                "that made the run"
            )
        for split in SPLITS:
            if part := getattr(result, split):
                rows = [number for number, name in enumerate(read["split"]) if name == split]
                own = {name: [values[row] for row in rows] for name, values in read.items()}
                outcomes[split] = Outcomes(own["prediction"], encode_columns(own, task))
                _check_scores(split, part, outcomes[split].answers, score_metrics(task))
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise unusable_result(path.parent, error) from error
    return outcomes


def encode_columns(columns: Mapping[str, Sequence[Any]], task: Mapping[str, Any]) -> Answers:
    """Encode the columns ``target`` and ``prediction`` and, if they are given, ``group`` and ``scores``."""
    groups = [int(group) for group in columns["group"]] if "group" in columns else None
    return encode(
        columns["target"], columns["prediction"], label_ids(task), groups, columns.get("scores"),
        multilabel=is_multilabel(task),
    )  # fmt: skip


def unusable_result(path: Path, error: Exception) -> KronaError:
    """Return the error for a result whose content is contradictory, although its types are valid."""
    reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return KronaError(f"{path} is damaged: {reason}")


def _check_scores(split: str, part: Mapping[str, Any], answers: Answers, metrics: Sequence[str]) -> None:
    if missing := [name for name in metrics if name not in part["parts"]]:
        raise ValueError(f"{split}.parts lacks {', '.join(missing)}. Was a file edited?")
    checked = [name for name in part["parts"] if name in METRICS]
    if answers.probabilities is None:
        checked = [name for name in checked if not METRICS[name].of_probabilities]
    given = score_answers(checked, answers)
    compared = [(f"{split} {name}", part["parts"][name], value, "predictions") for name, value in given.items()]
    mean = sum(part["parts"][name] for name in metrics) / len(metrics)
    for name, stored, computed, source in [*compared, (f"{split}.score", part["score"], mean, "parts")]:
        if not abs(computed - stored) <= TOLERANCE:
            raise ValueError(f"{name} is {stored:.4f}, but its {source} give {computed:.4f}. Was a file edited?")


def score_metrics(task: Mapping[str, Any]) -> list[str]:
    """Return the names of the metrics whose mean is the task's score in tables."""
    names: str | list[str] = task.get("score") or task["metrics"]
    return criteria([names] if isinstance(names, str) else list(names))


def label_ids(task: Mapping[str, Any]) -> list[str] | None:
    """Return the target texts of a task, sorted by label id, or None for a regression."""
    return None if task.get("labels") is None else list(label_words(task))


def label_words(task: Mapping[str, Any]) -> dict[str, str]:
    """Return the label names by target text, sorted by label id, or {} for a regression."""
    labels = task.get("labels")
    if labels is None:
        return {}
    named = labels if isinstance(labels, Mapping) else {word: i for i, word in enumerate(labels)}
    return {str(i): str(word) for word, i in sorted(named.items(), key=lambda item: int(item[1]))}


def is_multilabel(task: Mapping[str, Any]) -> bool:
    """Return whether the rows of a task can have several labels."""
    return task.get("kind") == "multilabel"


def label_text(text: str, task: Mapping[str, Any]) -> str | None:
    """Return the name of a predicted label, or the names of several labels. For any other text, return None."""
    words = label_words(task)
    if not is_multilabel(task):
        return words.get(text)
    labels = parse_set(text, words)
    if labels is None:
        return None
    return str(task.get("label_separator", ",")).join(words[label] for label in words if label in labels) or EMPTY_SET


def decode_label(text: str, task: Mapping[str, Any]) -> str:
    """Return a prediction as text for tables: the names of its labels, or the number in a regression.

    An invalid prediction is returned in quotes, followed by "(no label)" or "(no number)".
    """
    text = text.strip()
    if task.get("labels") is None:
        return text if NUMBER.fullmatch(text) else f"{text!r} (no number)"
    return label_text(text, task) or f"{text!r} (no label)"


def invalid_predictions(predictions: Sequence[str], task: Mapping[str, Any]) -> list[str]:
    """Return the predictions that are not a label of the task or, for a regression, are not a number."""
    texts = [text.strip() for text in predictions]
    if task.get("labels") is None:
        return [text for text in texts if not NUMBER.fullmatch(text)]
    invalid = {text for text in set(texts) if label_text(text, task) is None}
    return [text for text in texts if text in invalid]


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
