"""The base class of metrics that rank the examples by the probability of a class."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .metric import Answers, Floats, Metric, Sums, one_hot, one_hot_levels


class Ranking(Metric):
    """A mean over the classes with examples, each against all others. With two classes, only the second class counts.

    In a multi-label task, each label is a class, also if there are two. As `Spearman`, the metric is a function of sums
    only if the targets are fixed.
    """

    of_probabilities = True
    ranked = True
    multilabel: ClassVar[bool | None] = None
    micro: ClassVar[bool] = False  # rank all pairs of a row and a label together, instead of a mean over the labels
    undefined: float  # the value if no class can be scored

    @abstractmethod
    def area(self, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
        """Return the value of a class (from 0 to 1), and whether the value is defined, from counts (..., levels).

        The counts are the examples of the class and the other examples, by ascending probability.
        """

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        columns = []
        for own, scores in self._by_class(answers):
            levels = np.unique(scores) if values is None else values
            nearest = one_hot_levels(scores.ravel(), levels).reshape(*scores.shape, -1)
            columns += [(nearest * kind[..., None]).sum(1) for kind in (own, ~own)]
        ends = np.cumsum([column.shape[1] for column in columns])[:-1]

        def value(sums: Floats) -> Floats:
            counts = np.split(sums, ends, axis=-1)
            return self._mean([self.area(*pair) for pair in zip(counts[::2], counts[1::2], strict=True)])

        return Sums(np.hstack(columns), value)

    def redrawn_scores(self, runs: Sequence[Answers], weights: Floats) -> Floats:
        # With ``micro``, each draw has a weight for each pair. Some draws at a time need less memory.
        parts = np.array_split(weights, min(len(weights), runs[0].classes) if self.micro else 1)
        return np.stack([np.concatenate([self._redraw(run, part) for part in parts]) for run in runs])

    def _redraw(self, run: Answers, weights: Floats) -> Floats:
        return self._mean([self.area(*_count(*pair, weights)) for pair in self._by_class(run)])

    def _by_class(self, answers: Answers) -> list[tuple[NDArray[np.bool_], Floats]]:
        """Return, for each class that counts, whether each example has this class, and its probability, (n, 1).

        With ``micro``, return a single pair with the values of all labels, (n, labels).
        """
        assert answers.probabilities is not None
        owns = answers.targets == 1 if answers.is_multilabel else one_hot(answers.targets, answers.classes) == 1
        if self.micro:
            return [(owns, answers.probabilities)]
        classes = [1] if answers.classes == 2 and not answers.is_multilabel else range(answers.classes)
        return [(owns[:, [label]], answers.probabilities[:, [label]]) for label in classes]

    def _mean(self, areas: Sequence[tuple[Floats, Floats]]) -> Floats:
        each = np.array([area for area, _ in areas])
        defined = np.array([is_defined for _, is_defined in areas], dtype=float)
        total = defined.sum(0)
        mean = (each * defined).sum(0) / np.maximum(total, 1)
        return np.asarray(100.0 * np.where(total > 0, mean, self.undefined))


def _count(own: NDArray[np.bool_], scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the number of drawn examples of the class, and of other examples, with each score, (draws, levels)."""
    order = np.argsort(scores, axis=None, kind="stable")
    ordered = scores.ravel()[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    drawn, own = weights[:, order // scores.shape[1]], own.ravel()[order]
    positive, negative = (np.add.reduceat(drawn * kind, starts, axis=1) for kind in (own, ~own))
    return positive, negative
