"""Spearman correlation of numbers. An invalid prediction is replaced by -1.

In general, this metric is not a function of sums over examples, because each example changes the ranks. If the targets
are fixed, as in the randomisation test, the metric is a function of two sums for each predicted value. These are the
number of examples with this prediction, and the sum of the ranks of their targets.
"""

import numpy as np

from krona.metrics.answers import Answers
from krona.metrics.metric import Floats, Metric, Sums, correlation, one_hot, ratio


def _sums(answers: Answers, values: Floats | None) -> Sums:
    values = np.unique(answers.given) if values is None else values
    nearest = np.clip(np.searchsorted(values, answers.given), 0, len(values) - 1)
    given = one_hot(nearest, len(values))
    middle = (len(answers) + 1) / 2
    truth = _ranks(answers.truth) - middle
    spread = float((truth**2).sum())

    def value(sums: Floats) -> Floats:
        counts, truth_sums = np.split(sums, 2, axis=-1)
        ranks = _mid_ranks(counts) - middle
        return ratio((ranks * truth_sums).sum(-1), np.sqrt(spread * (counts * ranks**2).sum(-1)))

    return Sums(np.hstack([given, given * truth[:, None]]), value)


def redrawn_scores(answers: Answers, weights: Floats) -> Floats:
    """Return the scores of test sets that are drawn with replacement.

    Args:
        answers: the targets and predictions of the original test set.
        weights: an array of shape (draws, n) with the number of times that each example was drawn.

    Returns:
        The scores in -100 to 100, with the shape (draws,).
    """
    ranked, moments = [], []
    middle = (weights.sum(1, keepdims=True) + 1) / 2
    for values in (answers.truth, answers.given):
        levels, where = np.unique(values, return_inverse=True)
        counts = weights @ one_hot(where, len(levels))
        by_level = _mid_ranks(counts) - middle  # (draws, levels)
        moments.append((counts * by_level**2).sum(1))
        ranked.append(by_level[:, where])
    together = np.einsum("dn,dn,dn->d", weights, *ranked)
    return ratio(together, np.sqrt(moments[0] * moments[1]))


def _ranks(values: Floats) -> Floats:
    """Return the ranks of the values. The lowest rank is 1, and equal values get the mean of their ranks."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return _mid_ranks(counts.astype(float))[where]


def _mid_ranks(counts: Floats) -> Floats:
    """Return the mean rank of each distinct value. The argument is the number of occurrences of each value (..., K).

    The values are in ascending order.
    """
    return np.cumsum(counts, -1) - (counts - 1) / 2


METRIC = Metric(
    score=lambda answers: correlation("spearmanr", answers), sums=_sums, of_numbers=True, redrawn_scores=redrawn_scores
)
