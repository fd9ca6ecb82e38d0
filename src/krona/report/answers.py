"""A result's predictions as numbers, held against the scores that it stores."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from krona.errors import KronaError
from krona.report.measures import Answers, encode, score
from krona.results import Result, unpack_outcomes

TOLERANCE = 1e-6  # points between a stored score and the one that its predictions give


def answers_of(result: Result, path: Path) -> dict[str, Answers]:
    """Split → predictions, of a finished run. Raises KronaError where its parts contradict one another."""
    if result.status != "done":
        return {}
    try:
        return _answers(result)
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
        raise unusable(path, error) from error


def unusable(path: Path, error: Exception) -> KronaError:
    """What to say of a result of the right form whose content makes no sense."""
    reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return KronaError(f"{path} can't be used: {reason}")


def _answers(result: Result) -> dict[str, Answers]:
    task = result.config["task"]
    names = label_ids(task)
    answers = {}
    for split in ("dev", "test"):
        part = getattr(result, split)
        if not part or not part.get("outcomes"):  # test is not scored where only dev is to choose
            continue
        answers[split] = encode(*unpack_outcomes(part["outcomes"]), names)
        given = score(list(part["parts"]), answers[split])
        for metric, value in part["parts"].items():
            _same(f"{split} {metric}", value, given[metric], "predictions")
        names_of_score = metrics_of(task)
        mean = sum(part["parts"][name] for name in names_of_score) / len(names_of_score)
        _same(f"{split}.score", part["score"], mean, "parts")
    return answers


def label_ids(task: Mapping[str, Any]) -> list[str] | None:
    """A task's targets in the order of their ids; None for a regression."""
    labels = task.get("labels")
    if labels is None:
        return None
    return [str(i) for i in sorted(labels.values() if isinstance(labels, Mapping) else range(len(labels)))]


def metrics_of(task: Mapping[str, Any]) -> list[str]:
    """The metrics whose mean is the score of a table."""
    return list(task.get("score") or task["metrics"])


def _same(what: str, stored: float, given: float, source: str) -> None:
    if not abs(given - stored) <= TOLERANCE:
        raise ValueError(f"{what} says {stored:.4f}, its {source} give {given:.4f}: edited by hand?")
