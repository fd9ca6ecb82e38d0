"""Predictions of a result: encoded, checked against the stored scores, and decoded to labels."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.metrics.answers import NUMBER, Answers, encode
from krona.metrics.scores import score_by_sums
from krona.runs.result import Result, unpack_outcomes

TOLERANCE = 1e-6  # points between a stored score and the score of the stored predictions


def encode_answers(result: Result) -> dict[str, Answers]:
    """Return the targets and predictions as numbers, by split. A split that was not scored is missing."""
    parts = {split: getattr(result, split) for split in ("dev", "test")}
    labels = label_ids(result.config["task"])
    return {
        split: encode(*unpack_outcomes(part["outcomes"]), labels)
        for split, part in parts.items()
        if part and part.get("outcomes")
    }


def check_answers(result: Result, path: Path) -> dict[str, Answers]:
    """Return a finished run's encoded predictions. Raise `KronaError` if they contradict the stored scores."""
    if result.status != "done":
        return {}
    try:
        answers = encode_answers(result)
        for split, numbers in answers.items():
            _check_scores(split, getattr(result, split), numbers, score_metrics(result.config["task"]))
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, zlib.error) as error:
        raise unusable_result(path, error) from error
    return answers


def unusable_result(path: Path, error: Exception) -> KronaError:
    """Return the error for a result of the right form whose content makes no sense."""
    reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return KronaError(f"{path} can't be used: {reason}")


def _check_scores(split: str, part: Mapping[str, Any], answers: Answers, metrics: Sequence[str]) -> None:
    given = score_by_sums(list(part["parts"]), answers)
    compared = [(f"{split} {name}", value, given[name], "predictions") for name, value in part["parts"].items()]
    mean = sum(part["parts"][name] for name in metrics) / len(metrics)
    for name, stored, computed, source in [*compared, (f"{split}.score", part["score"], mean, "parts")]:
        if not abs(computed - stored) <= TOLERANCE:
            raise ValueError(f"{name} says {stored:.4f}, its {source} give {computed:.4f}: edited by hand?")


def score_metrics(task: Mapping[str, Any]) -> list[str]:
    """Return the metrics whose mean is the score in tables."""
    return list(task.get("score") or task["metrics"])


def label_ids(task: Mapping[str, Any]) -> list[str] | None:
    """Return a task's targets in the order of their ids; None for a regression."""
    return None if task.get("labels") is None else list(label_words(task))


def label_words(task: Mapping[str, Any]) -> dict[str, str]:
    """Return the label of each target text, in the order of the ids; empty for a regression."""
    labels = task.get("labels")
    if labels is None:
        return {}
    named = labels if isinstance(labels, Mapping) else {word: i for i, word in enumerate(labels)}
    return {str(i): str(word) for word, i in sorted(named.items(), key=lambda item: int(item[1]))}


def decode_label(text: str, words: Mapping[str, str]) -> str:
    """Return the label of a prediction, or the text in quotes. Without labels, in a regression, return the number."""
    text = text.strip()
    if not words:
        return text if NUMBER.fullmatch(text) else f"{text!r} (no number)"
    return words.get(text, f"{text!r} (no label)")


def invalid_predictions(predictions: Sequence[str], task: Mapping[str, Any]) -> list[str]:
    """Return the predictions that are not a label of the task, or in a regression not a number."""
    words = label_words(task)
    texts = [text.strip() for text in predictions]
    return [text for text in texts if (text not in words if words else not NUMBER.fullmatch(text))]
