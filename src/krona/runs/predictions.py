"""Read the predictions of a run, check them against the stored scores, and decode them to labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from krona.messages import KronaError, plural
from krona.metrics.scores import METRICS, criteria, need_scores, score_answers
from krona.metrics.scores.metric import EMPTY_SET, NUMBER, Answers, encode, parse_set
from krona.runs.result import Result

TOLERANCE = 1e-6  # largest accepted difference between a stored score and the score of the stored predictions
SPLITS = ("dev", "test")


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
