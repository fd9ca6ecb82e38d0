"""Spearman correlation."""

from collections.abc import Sequence

import numpy as np

from .metric import Answers, Floats, Metric, Sums, equal_parts, one_hot_levels, ratio


class Spearman(Metric):
    """Spearman correlation of numbers. An invalid prediction is replaced by -1.

    In general, this metric is not a function of sums over examples, because each example changes the ranks. If the
    targets are fixed, as in the randomisation test, the metric is a function of two sums for each predicted value.
    These are the number of examples with this prediction, and the rank sum of their targets.
    """

    of_numbers = True
    ranked = True

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        values = np.unique(answers.predictions) if values is None else values
        one_hot_predictions = one_hot_levels(answers.predictions, values)
        middle = (len(answers) + 1) / 2
        _, where, counts = np.unique(answers.targets, return_inverse=True, return_counts=True)
        target_ranks = _mid_ranks(counts.astype(float))[where] - middle
        spread = float((target_ranks**2).sum())

        def value(sums: Floats) -> Floats:
            counts, target_sums = equal_parts(sums, 2)
            ranks = np.cumsum(counts, -1)
            ranks -= counts / 2  # plus a constant, which does not matter because the sum of all target_sums is 0
            together = np.einsum("...k,...k->...", ranks, target_sums)
            ties = np.einsum("...k,...k->...", counts * counts, counts)
            return 100.0 * ratio(together, np.sqrt(spread * ((float(len(answers)) ** 3 - ties) / 12)))

        return Sums(np.hstack([one_hot_predictions, one_hot_predictions * target_ranks[:, None]]), value)

    def redrawn_scores(self, runs: Sequence[Answers], weights: Floats) -> Floats:
        target_ranks, target_spread = _redrawn_ranks(runs[0].targets, weights)
        target_ranks *= weights
        scores = []
        for run in runs:
            ranks, spread = _redrawn_ranks(run.predictions, weights)
            scores.append(100.0 * ratio(np.einsum("dn,dn->d", target_ranks, ranks), np.sqrt(target_spread * spread)))
        return np.stack(scores)


def _redrawn_ranks(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return each example's rank in the drawn test sets (draws, n), with mean 0, and the sums of their squares."""
    levels, where = np.unique(values, return_inverse=True)
    order = np.argsort(where, kind="stable")
    counts = np.add.reduceat(weights[:, order], np.searchsorted(where[order], np.arange(len(levels))), axis=1)
    by_level = _mid_ranks(counts) - (weights.sum(1, keepdims=True) + 1) / 2
    return by_level[:, where], (counts * by_level**2).sum(1)


def _mid_ranks(counts: Floats) -> Floats:
    """Return the mean rank of each distinct value, in ascending order, from its number of occurrences (..., K)."""
    return np.cumsum(counts, -1) - (counts - 1) / 2
