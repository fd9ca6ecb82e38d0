"""Metrics of the probability of each label: the logarithmic loss and the area under the ROC curve."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .metric import Answers, Floats, Metric, Sums, mean_sums, one_hot, ratio


class LogLoss(Metric):
    """Logarithmic loss: the mean negative logarithm of the target's probability, in nats. Lower is better."""

    of_probabilities = True
    selects = False
    linear = True

    def sums(self, answers: Answers) -> Sums:
        assert answers.probabilities is not None
        of_target = answers.probabilities[np.arange(len(answers)), answers.targets]
        smallest = np.finfo(float).eps  # as in scikit-learn
        return mean_sums(-np.log(np.clip(of_target, smallest, 1 - smallest)))


Mask = NDArray[np.bool_]


class RocAuc(Metric):
    """Area under the ROC curve. With several classes, the mean of each class against all others.

    This is the probability that a random example of the class has a higher probability of the class than a random
    other example. Ties count half. If all examples have the same class, the value is that of chance, 50.
    A task with two classes uses the second class only. In a multi-label task, each label is a class. Classes without
    examples are left out.
    """

    of_probabilities = True
    ranked = True
    multilabel: ClassVar[bool | None] = None

    def redrawn_scores(self, runs: Sequence[Answers], weights: Floats) -> Floats:
        return np.stack([
            _mean([_area(*_count(*pair, weights)) for pair in self._by_class(run)]) for run in runs
        ])  # fmt: skip

    def _by_class(self, answers: Answers) -> list[tuple[Mask, Floats]]:
        """Return, for each class that counts, whether each example has this class, and its probability, (n, 1)."""
        is_class, probabilities = _pairs(answers)
        classes = [1] if answers.classes == 2 and not answers.is_multilabel else range(answers.classes)
        return [(is_class[:, [label]], probabilities[:, [label]]) for label in classes]


class MicroRocAuc(RocAuc):
    """Area under the ROC curve of a multi-label task, of all pairs of a row and a label together."""

    multilabel = True

    def redrawn_scores(self, runs: Sequence[Answers], weights: Floats) -> Floats:
        # Each draw has a weight for each pair. Some draws at a time need less memory.
        redraw, chunks = super().redrawn_scores, np.array_split(weights, min(len(weights), runs[0].classes))
        return np.concatenate([redraw(runs, chunk) for chunk in chunks], axis=1)

    def _by_class(self, answers: Answers) -> list[tuple[Mask, Floats]]:
        return [_pairs(answers)]


def _pairs(answers: Answers) -> tuple[Mask, Floats]:
    """Return whether each example has each class, and the probability of each class, (n, classes)."""
    assert answers.probabilities is not None
    is_class = answers.targets if answers.is_multilabel else one_hot(answers.targets, answers.classes)
    return is_class == 1, answers.probabilities


def _count(is_class: Mask, probabilities: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the number of drawn examples of the class, and of other examples, with each score, (draws, levels)."""
    order = np.argsort(probabilities, axis=None, kind="stable")
    ordered = probabilities.ravel()[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    drawn, is_class = weights[:, order // probabilities.shape[1]], is_class.ravel()[order]
    positive, negative = (np.add.reduceat(drawn * mask, starts, axis=1) for mask in (is_class, ~is_class))
    return positive, negative


def _area(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Return the area (from 0 to 1), and whether it is defined, from the counts of `_count`."""
    below = np.cumsum(negative, -1) - negative / 2
    pairs = positive.sum(-1) * negative.sum(-1)
    return ratio((positive * below).sum(-1), pairs), pairs > 0


def _mean(areas: Sequence[tuple[Floats, Floats]]) -> Floats:
    each = np.array([area for area, _ in areas])
    defined = np.array([is_defined for _, is_defined in areas], dtype=float)
    total = defined.sum(0)
    mean = (each * defined).sum(0) / np.maximum(total, 1)
    return np.asarray(100.0 * np.where(total > 0, mean, 0.5))
