"""Predictions of a result: as numbers, checked against the stored scores, and as words."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.metrics.answers import NUMBER, Answers, encode
from krona.metrics.scores import score_by_sums
from krona.runs.result import Result, unpack_outcomes

TOLERANCE = 1e-6  # points between a stored score and the one that its predictions give


def answers_of(result: Result, path: Path) -> dict[str, Answers]:
    """Return a finished run's predictions by split. Raise `KronaError` if its parts contradict one another."""
    if result.status != "done":
        return {}
    try:
        return _answers(result)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, zlib.error) as error:
        raise unusable(path, error) from error


def unusable(path: Path, error: Exception) -> KronaError:
    """Return the error for a result of the right form whose content makes no sense."""
    reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return KronaError(f"{path} can't be used: {reason}")


def encoded(result: Result) -> dict[str, Answers]:
    """Return the predictions by split, unchecked. A split that was not scored is missing."""
    parts = {split: getattr(result, split) for split in ("dev", "test")}
    labels = label_ids(result.config["task"])
    return {
        split: encode(*unpack_outcomes(part["outcomes"]), labels)
        for split, part in parts.items()
        if part and part.get("outcomes")  # test is not scored where only dev is to choose
    }


def _answers(result: Result) -> dict[str, Answers]:
    scored, answers = metrics_of(result.config["task"]), encoded(result)
    for split, numbers in answers.items():
        part = getattr(result, split)
        given = score_by_sums(list(part["parts"]), numbers)
        for metric, value in part["parts"].items():
            _same(f"{split} {metric}", value, given[metric], "predictions")
        mean = sum(part["parts"][name] for name in scored) / len(scored)
        _same(f"{split}.score", part["score"], mean, "parts")
    return answers


def label_ids(task: Mapping[str, Any]) -> list[str] | None:
    """Return a task's targets in the order of their ids; None for a regression."""
    return None if task.get("labels") is None else list(label_words(task))


def metrics_of(task: Mapping[str, Any]) -> list[str]:
    """Return the metrics whose mean is the score of a table."""
    return list(task.get("score") or task["metrics"])


def _same(what: str, stored: float, given: float, source: str) -> None:
    if not abs(given - stored) <= TOLERANCE:
        raise ValueError(f"{what} says {stored:.4f}, its {source} give {given:.4f}: edited by hand?")


def label_words(task: Mapping[str, Any]) -> dict[str, str]:
    """Return the label of each target text, in the order of the ids; empty for a regression."""
    labels = task.get("labels")
    if labels is None:
        return {}
    named = labels if isinstance(labels, Mapping) else {word: i for i, word in enumerate(labels)}
    return {str(i): str(word) for word, i in sorted(named.items(), key=lambda item: int(item[1]))}


def decode_label(text: str, words: Mapping[str, str]) -> str:
    """Return the label of a prediction, or the text in quotes. Without labels, in a regression, keep a number as is."""
    text = text.strip()
    if not words:
        return text if NUMBER.fullmatch(text) else f"{text!r} (no number)"
    return words.get(text, f"{text!r} (no label)")


def invalid_predictions(predictions: Sequence[str], task: Mapping[str, Any]) -> list[str]:
    """Return the predictions that are not a label of the task, or not a number in a regression."""
    words = label_words(task)
    texts = [text.strip() for text in predictions]
    return [text for text in texts if (text not in words if words else not NUMBER.fullmatch(text))]
