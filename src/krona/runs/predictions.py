"""Encode the predictions of a result as numbers, check them against the stored scores, and decode them to labels."""

import base64
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from krona.messages import KronaError
from krona.metrics.scores import score_answers
from krona.metrics.scores.metric import NUMBER, Answers, encode_targets, pair
from krona.runs.result import Outcomes, Result

TOLERANCE = 1e-6  # largest difference between a stored score and the score of the stored predictions


def pack_outcomes(targets: Sequence[str], predictions: Sequence[str]) -> Outcomes:
    """Return the targets and the predictions of all rows as compressed texts (zlib, base64) with a line per row."""
    return {"targets": _pack(targets), "predictions": _pack(predictions)}


def unpack_outcomes(packed: Outcomes) -> tuple[list[str], list[str]]:
    """Return the lists of targets and predictions that `pack_outcomes` compressed."""
    return _unpack(packed["targets"]), _unpack(packed["predictions"])


def _pack(values: Sequence[str]) -> str:
    text = "\n".join(value.replace("\n", " ") for value in values)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _unpack(packed: str) -> list[str]:
    return zlib.decompress(base64.b64decode(packed)).decode().split("\n")


class DamagedRunError(KronaError):
    """The error for a run whose result.json can't be read or used."""

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


def encode_answers(result: Result) -> dict[str, Answers]:
    """Return a dict from each split's name to its targets and predictions, as label ids or as numbers of a regression.

    Splits that were not scored are not in the dict.
    """
    found = {}
    labels = label_ids(result.config["task"])
    for split, part in (("dev", result.dev), ("test", result.test)):
        if part and (packed := part.get("outcomes")):
            truth = _encode_targets(packed["targets"], None if labels is None else tuple(labels))
            found[split] = pair(truth, _unpack(packed["predictions"]), labels)
    return found


@lru_cache(maxsize=32)  # all runs of a task have the same targets
def _encode_targets(packed: str, labels: tuple[str, ...] | None) -> NDArray[Any]:
    truth = encode_targets(_unpack(packed), labels)
    truth.flags.writeable = False
    return truth


def check_answers(result: Result, path: Path) -> dict[str, Answers]:
    """Return the result of `encode_answers` for a finished run, or an empty dict if the run is not done.

    Raises:
        KronaError: the scores of the predictions differ from the stored scores.
    """
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
    """Return the error for a result that has valid types but contradictory content."""
    reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return KronaError(f"{path} is damaged: {reason}")


def _check_scores(split: str, part: Mapping[str, Any], answers: Answers, metrics: Sequence[str]) -> None:
    given = score_answers(list(part["parts"]), answers)
    compared = [(f"{split} {name}", value, given[name], "predictions") for name, value in part["parts"].items()]
    mean = sum(part["parts"][name] for name in metrics) / len(metrics)
    for name, stored, computed, source in [*compared, (f"{split}.score", part["score"], mean, "parts")]:
        if not abs(computed - stored) <= TOLERANCE:
            raise ValueError(f"{name} is {stored:.4f}, but its {source} give {computed:.4f}. Was the file edited?")


def score_metrics(task: Mapping[str, Any]) -> list[str]:
    """Return the names of the metrics whose mean is the task's score in tables."""
    names: str | list[str] = task.get("score") or task["metrics"]
    return [names] if isinstance(names, str) else list(names)


def label_ids(task: Mapping[str, Any]) -> list[str] | None:
    """Return a list of a task's target texts, sorted by the labels' ids, or None for a regression."""
    return None if task.get("labels") is None else list(label_words(task))


def label_words(task: Mapping[str, Any]) -> dict[str, str]:
    """Return a dict from each target text to its label's name, sorted by the labels' ids, or {} for a regression."""
    labels = task.get("labels")
    if labels is None:
        return {}
    named = labels if isinstance(labels, Mapping) else {word: i for i, word in enumerate(labels)}
    return {str(i): str(word) for word, i in sorted(named.items(), key=lambda item: int(item[1]))}


def decode_label(text: str, words: Mapping[str, str]) -> str:
    """Return a prediction as text for tables: the label's name from `label_words`, or the number in a regression.

    An invalid prediction is returned in quotes with a remark.
    """
    text = text.strip()
    if not words:
        return text if NUMBER.fullmatch(text) else f"{text!r} (no number)"
    return words.get(text, f"{text!r} (no label)")


def invalid_predictions(predictions: Sequence[str], task: Mapping[str, Any]) -> list[str]:
    """Return the predictions that are not a label of the task or, for a regression, are not a number."""
    words = label_words(task)
    texts = [text.strip() for text in predictions]
    return [text for text in texts if (text not in words if words else not NUMBER.fullmatch(text))]
