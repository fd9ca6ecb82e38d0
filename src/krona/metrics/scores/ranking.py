"""The base classes of metrics that rank the examples by the probability of a class."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .metric import Answers, Floats, Metric, Sums, one_hot, one_hot_levels

Mask = NDArray[np.bool_]


class Ranking(Metric):
    """Base class of ROC AUC and average precision: each class against all others, averaged over the classes.

    A task with two classes uses the second class only. In a multi-label task, each label is a class. Classes without
    examples are left out. The metric is a function of sums as long as the targets do not change, as in the
    randomisation test: the sums are the histograms of the probabilities, of the examples of a class and of the others.
    """

    of_probabilities = True
    ranked = True
    multilabel: ClassVar[bool | None] = None
    undefined: float  # the value if no class can be scored

    @abstractmethod
    def area(self, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
        """Return the value of a class (from 0 to 1), and whether the value is defined, from counts (..., levels).

        The counts are the examples of the class and the other examples, by ascending probability.
        """

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        histograms = []  # (n, levels) for the examples of each class, and for the other examples
        for is_class, probabilities in self._by_class(answers):
            levels = np.unique(probabilities) if values is None else values
            nearest = one_hot_levels(probabilities.ravel(), levels).reshape(*probabilities.shape, -1)
            histograms += [(nearest * mask[..., None]).sum(1) for mask in (is_class, ~is_class)]
        boundaries = np.cumsum([histogram.shape[1] for histogram in histograms])[:-1]

        def value(sums: Floats) -> Floats:
            counts = np.split(sums, boundaries, axis=-1)
            return self._mean([self.area(*pair) for pair in zip(counts[::2], counts[1::2], strict=True)])

        return Sums(np.hstack(histograms), value)

    def redrawn_scores(self, runs: Sequence[Answers], weights: Floats) -> Floats:
        return np.stack([
            self._mean([self.area(*_count(*pair, weights)) for pair in self._by_class(run)]) for run in runs
        ])  # fmt: skip

    def _by_class(self, answers: Answers) -> list[tuple[Mask, Floats]]:
        """Return, for each class that counts, whether each example has this class, and its probability, (n, 1)."""
        is_class, probabilities = _pairs(answers)
        classes = [1] if answers.classes == 2 and not answers.is_multilabel else range(answers.classes)
        return [(is_class[:, [label]], probabilities[:, [label]]) for label in classes]

    def _mean(self, areas: Sequence[tuple[Floats, Floats]]) -> Floats:
        each = np.array([area for area, _ in areas])
        defined = np.array([is_defined for _, is_defined in areas], dtype=float)
        total = defined.sum(0)
        mean = (each * defined).sum(0) / np.maximum(total, 1)
        return np.asarray(100.0 * np.where(total > 0, mean, self.undefined))


class MicroRanking(Ranking):
    """Base class of rankings of all pairs of a row and a label of a multi-label task together."""

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
