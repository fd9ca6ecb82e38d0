"""Encode the targets and predictions of a test set as numbers. docs/fidelity.md (Data) explains the rules."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# float() also accepts "nan", "inf", "1_0" and "1e999".
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
NO_LABEL = -1
NO_NUMBER = -1.0


@dataclass(frozen=True, eq=False)
class Answers:
    """The targets and predictions of a test set as arrays with the shape (n,).

    For a classification, the values are ids in the order of the labels, and -1 for a prediction that is not a label.
    For a regression, the values are numbers, and -1 for a prediction that is not a number.
    """

    truth: NDArray[Any]  # the targets
    given: NDArray[Any]  # the predictions
    classes: int  # the number of classes; 0 for a regression

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def as_wrong(self) -> NDArray[Any]:
        """The predictions. With two classes, an invalid prediction is replaced by the label that is not the target."""
        return np.where(self.given < 0, 1 - self.truth, self.given) if self.classes == 2 else self.given


def encode(targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str] | None) -> Answers:
    """Encode target and prediction strings as numbers.

    ``labels`` are all target strings in the order of their ids. None means a regression. Raise ValueError if the
    lengths differ, if there are no rows, or if a target is not a label.
    """
    return pair(encode_targets(targets, labels), predictions, labels)


def encode_targets(targets: Sequence[str], labels: Sequence[str] | None) -> NDArray[Any]:
    """Encode target strings as numbers. `encode` describes the arguments and errors."""
    if not targets:
        raise ValueError("There are no rows to score.")
    truth = _encode(targets, labels)
    if labels is not None and (truth < 0).any():
        raise ValueError(f"The target {targets[int(np.argmin(truth))]!r} is not one of the labels {', '.join(labels)}.")
    return truth


def pair(truth: NDArray[Any], predictions: Sequence[str], labels: Sequence[str] | None) -> Answers:
    """Encode prediction strings as numbers, and pair them with encoded targets."""
    if len(truth) != len(predictions):
        raise ValueError(f"{len(truth)} targets and {len(predictions)} predictions cannot be paired.")
    return Answers(truth, _encode(predictions, labels), classes=len(labels or ()))


def _encode(texts: Sequence[str], labels: Sequence[str] | None) -> NDArray[Any]:
    if labels is None:
        return np.array([_number(text) for text in texts])
    return _ids(texts, {label: i for i, label in enumerate(labels)})


def _ids(texts: Sequence[str], ids: dict[str, int]) -> NDArray[Any]:
    """Return the id of each label text, and -1 for other texts.

    If all texts are single characters, such as "1", one array operation converts all of them.
    """
    joined = "".join(texts)
    if len(joined) != len(texts) or not joined.isascii() or min(map(len, texts)) != 1:
        return np.array([ids.get(text.strip(), NO_LABEL) for text in texts])
    table = np.full(128, NO_LABEL)
    for label, i in ids.items():
        if len(label) == 1 and label.isascii():
            table[ord(label)] = i
    return np.asarray(table[np.frombuffer(joined.encode(), dtype=np.uint8)])


@lru_cache(maxsize=4096)
def _number(text: str) -> float:
    text = text.strip()
    # A very long number gives inf, and the square of 1e200 overflows. Such predictions are therefore invalid.
    number = float(text) if NUMBER.fullmatch(text) else np.inf
    return number if abs(number) < 1e100 else NO_NUMBER
