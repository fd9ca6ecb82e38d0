"""The base class of the metrics, and the targets and predictions of a test set as numbers.

docs/fidelity.md (Data) explains the rules for invalid predictions. A metric is a function of sums over examples, so
that the scores of thousands of resampled test sets are computed together.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# float() also accepts "nan", "inf", "1_0" and "1e999".
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
NO_LABEL = -1
NO_NUMBER = -1.0
EMPTY_SET = "none"  # the text of a set without labels
DEFAULT_THRESHOLD = 0.5  # a label of a multi-label task is predicted if its probability is above the threshold
THRESHOLDS = [round(0.05 * step, 2) for step in range(1, 20)]


@dataclass(frozen=True, eq=False)
class Answers:
    """The targets and predictions of a test set as arrays with the shape (n,).

    For a classification, the values are ids in the order of the labels, and -1 for a prediction that is not a label.
    For a regression, the values are numbers, and -1 for a prediction that is not a number. If the task is multi-label,
    the shape is (n, classes), a value is 1 for a label of the row and otherwise 0, and all values of an invalid
    prediction are -1.
    """

    targets: NDArray[Any]
    predictions: NDArray[Any]
    classes: int  # the number of classes; 0 for a regression
    groups: NDArray[Any] | None = None  # the group of each example, from 0; None: each example is its own group
    probabilities: Floats | None = None  # the probability of each class, (n, classes); None: unknown

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def units(self) -> int:
        """The number of units that resampling draws: groups, or examples if there are no groups."""
        return len(self) if self.groups is None else int(self.groups.max()) + 1

    @property
    def is_multilabel(self) -> bool:
        """Whether a row can have several labels."""
        return self.targets.ndim == 2

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether each prediction is correct, (n,). In a multi-label task, all labels of the row must be correct."""
        same = self.targets == self.predictions
        return np.asarray(same.all(1) if self.is_multilabel else same)

    @property
    def predictions_with_invalid_flipped(self) -> NDArray[Any]:
        """The predictions. With two classes, an invalid prediction is replaced by the label that is not the target.

        In a multi-label task, it is replaced by all labels that are not in the target.
        """
        binary = self.classes == 2 or self.is_multilabel
        return np.where(self.predictions < 0, 1 - self.targets, self.predictions) if binary else self.predictions


@dataclass(frozen=True)
class Sums:
    """A metric as a function of sums over examples. The score in points is ``value(features.sum(0))``."""

    features: Floats  # (n, F): F numbers for each of the n examples or groups
    value: Callable[[Floats], Floats]  # maps sums (..., F) to scores (...)


class Metric:
    """A metric from 0 to 100, or from -100 to 100 for a correlation. Its name is its key in `METRICS`."""

    of_numbers: ClassVar[bool] = False  # for regressions
    classes: ClassVar[int | None] = None  # the number of classes for which the metric is defined; None: any number
    multilabel: ClassVar[bool | None] = False  # for tasks with several labels per row; None: for all classifications
    linear: ClassVar[bool] = False  # a mean over examples, so that the sums of several runs can be averaged
    # whether the metric can be the task's score and select the epoch, because higher is better
    selects: ClassVar[bool] = True
    of_probabilities: ClassVar[bool] = False  # computed from the probability of each class instead of the predictions
    ranked: ClassVar[bool] = False  # not a function of sums over examples: resampled test sets need ``redrawn_scores``

    def sums(self, answers: Answers) -> Sums:
        """Return the metric of some answers as sums. A metric with ``ranked`` has none."""
        raise NotImplementedError

    def redrawn_scores(self, runs: Sequence[Answers], weights: Floats) -> Floats:
        """Return the scores (runs, draws), from the number of times (draws, n) that each example was drawn."""
        raise NotImplementedError

    def fits(self, classes: int, *, multilabel: bool = False) -> bool:
        """Return whether the metric is defined for this number of classes. 0 classes mean a regression."""
        if self.multilabel not in (None, multilabel):
            return False
        return self.of_numbers == (classes == 0) and self.classes in (None, classes)

    def score(self, answers: Answers) -> float:
        """Return the score of a test set."""
        if self.ranked:  # the sums need a matrix of examples and distinct predictions
            value = self.redrawn_scores([answers], np.ones((1, len(answers))))[0, 0]
        else:
            sums = self.sums(answers)
            value = sums.value(sums.features.sum(0))
        return float(np.clip(value, -100.0, 100.0))  # rounding may give 100.00000000000001 for a correlation


def encode(
    targets: Sequence[str],
    predictions: Sequence[str],
    labels: Sequence[str] | None,
    groups: Sequence[int] | None = None,
    scores: Sequence[Sequence[float | None]] | None = None,
    *,
    multilabel: bool = False,
) -> Answers:
    """Encode target and prediction strings as numbers.

    Args:
        labels: all target strings in the order of their ids. None means a regression.
        groups: the group of each row. None means that each row is its own group.
        scores: the probabilities of each row, in the order of the labels. A row with NaN or None is wrong: the labels
            of its target get 0, and all other labels get the same probability (in a multi-label task, 1).
        multilabel: whether a string contains several labels, separated by blanks.

    Raises:
        ValueError: the lengths differ, there are no rows, a target is not a label, or a probability is not in [0, 1].
    """
    if not targets:
        raise ValueError("There are no rows to score.")
    encode_texts = _encode_sets if multilabel else _encode
    target_ids = encode_texts(targets, labels)
    if labels is not None and (target_ids < 0).any():
        wrong = int(np.argmax((target_ids < 0).reshape(len(target_ids), -1).any(1)))
        raise ValueError(f"The target {targets[wrong]!r} is not one of the labels {', '.join(labels)}.")
    for name, values in (("predictions", predictions), ("groups", groups), ("scores", scores)):
        if values is not None and len(target_ids) != len(values):
            raise ValueError(f"{len(target_ids)} targets and {len(values)} {name} cannot be paired.")
    group_ids = None if groups is None else np.unique(groups, return_inverse=True)[1]
    classes = len(labels or ())
    probabilities = None if scores is None else _encode_probabilities(scores, target_ids, classes)
    return Answers(target_ids, encode_texts(predictions, labels), classes, group_ids, probabilities)


def _encode(texts: Sequence[str], labels: Sequence[str] | None) -> NDArray[Any]:
    if labels is None:
        return np.array([_number(text) for text in texts])
    ids = {label: i for i, label in enumerate(labels)}
    return np.array([ids.get(text.strip(), NO_LABEL) for text in texts])


def _encode_sets(texts: Sequence[str], labels: Sequence[str] | None) -> NDArray[Any]:
    ids = {label: i for i, label in enumerate(labels or ())}
    encoded = np.zeros((len(texts), len(ids)), dtype=int)
    for row, text in enumerate(texts):
        words = parse_set(text, ids)
        encoded[row, [ids[word] for word in words or ()]] = 1
        if words is None:
            encoded[row] = NO_LABEL
    return encoded


def parse_set(text: str, labels: Collection[str]) -> set[str] | None:
    """Return the labels in a text such as ``0 2``, or None if it contains anything else."""
    words = text.split()
    if words == [EMPTY_SET]:
        return set()
    return {*words} if words and all(word in labels for word in words) else None


def format_set(labels: Iterable[str]) -> str:
    """Return label ids as a text such as ``0 2``."""
    return " ".join(sorted(labels, key=int)) or EMPTY_SET


def labels_above(threshold: float, probabilities: Sequence[Sequence[float]], labels: Sequence[str]) -> list[str]:
    """Return the labels of each row whose probability is above the threshold, such as ``0 2``."""
    return [
        format_set(label for label, value in zip(labels, row, strict=True) if value > threshold)
        for row in probabilities
    ]


def choose_threshold(
    score: Callable[[list[str]], float], probabilities: Sequence[Sequence[float]], labels: Sequence[str]
) -> float:
    """Return the candidate with the best score of the predicted labels. Of equal scores, return the nearest to 0.5."""
    scores = {threshold: score(labels_above(threshold, probabilities, labels)) for threshold in THRESHOLDS}
    return max(THRESHOLDS, key=lambda threshold: (scores[threshold], -abs(threshold - DEFAULT_THRESHOLD)))


def _encode_probabilities(scores: Sequence[Sequence[float | None]], targets: NDArray[Any], classes: int) -> Floats:
    probabilities = np.array(scores, dtype=float)  # None becomes NaN
    if probabilities.shape != (len(targets), classes) or (probabilities < 0).any() or (probabilities > 1).any():
        raise ValueError(f"The scores are not {classes} probabilities for each of the {len(targets)} rows.")
    wrong = 1 - targets if targets.ndim == 2 else (1 - one_hot(targets, classes)) / max(classes - 1, 1)
    return np.where(np.isnan(probabilities).any(1, keepdims=True), wrong, probabilities)


@lru_cache(maxsize=4096)
def _number(text: str) -> float:
    text = text.strip()
    # A very long number gives inf, and the square of 1e200 overflows. Such predictions are therefore invalid.
    number = float(text) if NUMBER.fullmatch(text) else np.inf
    return number if abs(number) < 1e100 else NO_NUMBER


def one_hot(ids: NDArray[Any], n: int) -> Floats:
    """Return the one-hot encoding (N, n) of ids (N,)."""
    return np.asarray(ids[:, None] == np.arange(n), dtype=float)


def mean_sums(values: NDArray[Any], *, scale: float = 1.0) -> Sums:
    """Return the `Sums` of a metric that is ``scale`` times the mean of a value (n,) of each example.

    The number of examples is a sum too, because resampled groups have different numbers of examples.
    """
    features = np.column_stack([values, np.ones(len(values))])
    return Sums(features, lambda sums: scale * (sums[..., 0] / sums[..., 1]))


def ratio(top: Floats, bottom: Floats) -> Floats:
    """Return top / bottom, or 0 where bottom is not positive."""
    return np.asarray(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0))
