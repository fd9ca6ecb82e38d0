"""Spearman correlation of numbers; an invalid prediction counts as -1.

It is no function of sums over examples, since every example changes the ranks. But with fixed targets, as in the
randomisation test, it is: of the counts of each predicted value, and of the sums of the targets' ranks at each.
"""

import numpy as np

from krona.metrics.answers import Answers
from krona.metrics.metric import Floats, Metric, Sums, correlation, one_hot, ratio


def _sums(answers: Answers, values: Floats) -> Sums:
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
    """Return the scores, 0-100, of test sets drawn with repetition; weights (draws, n) count each example."""
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
    """Return ranks from 1; ties share their mean."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return _mid_ranks(counts.astype(float))[where]


def _mid_ranks(counts: Floats) -> Floats:
    """Return the rank that the occurrences of each value share, from the counts (..., K) of ascending values."""
    return np.cumsum(counts, -1) - (counts - 1) / 2


METRIC = Metric(
    score=lambda answers: correlation("spearmanr", answers), sums=_sums, of_numbers=True, redrawn_scores=redrawn_scores
)
