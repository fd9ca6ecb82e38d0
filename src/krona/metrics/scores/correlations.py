"""The correlations of predicted numbers with the targets."""

from collections.abc import Sequence

import numpy as np

from .metric import Answers, Floats, Metric, Sums, ratio


class Pearson(Metric):
    """Pearson correlation of numbers. An invalid prediction is replaced by -1."""

    of_numbers = True

    def sums(self, answers: Answers) -> Sums:
        middle = answers.targets.mean()
        # Without their mean, the sums are exact also if the predictions are nearly equal.
        x, y = answers.targets - middle, answers.predictions - answers.predictions.mean()
        return Sums(np.stack([np.ones(len(x)), x, y, x * y, x * x, y * y], axis=1), _pearson)


def _pearson(sums: Floats) -> Floats:
    n, x, y, xy, xx, yy = np.moveaxis(sums, -1, 0)
    spread_x, spread_y = n * xx - x * x, n * yy - y * y
    # A variance that is only the rounding error of constant values is set to 0.
    flat = (spread_x <= 1e-12 * n * xx) | (spread_y <= 1e-12 * n * yy)
    return 100.0 * ratio(n * xy - x * y, np.where(flat, 0.0, np.sqrt(np.abs(spread_x * spread_y))))


class Spearman(Metric):
    """Spearman correlation of numbers. An invalid prediction is replaced by -1.

    This metric is not a function of sums over examples, because each example changes the ranks.
    """

    of_numbers = True
    ranked = True

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
