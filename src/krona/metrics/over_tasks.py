"""Compare methods over several tasks, and test whether two methods are equivalent on one task.

The module computes

- mean ranks, with a permutation test of Friedman's statistic, and with Nemenyi's critical difference (Demsar 2006,
  section 3.2.2),
- the interquartile mean and the probability of improvement, with a stratified bootstrap (Agarwal et al. 2021, section
  4), and
- two one-sided tests of equivalence (Schuirmann 1987), with a paired bootstrap of the difference between two scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from krona.metrics.scores.metric import Answers, Floats
from krona.metrics.statistics import (
    DRAWS,
    LEVEL,
    SWAPS,
    Interval,
    p_value,
    paired_bootstrap,
    percentile_interval,
    require_pairs,
)

MARGIN = 1.0  # points
Indices = npt.NDArray[np.int64]
Runs = Sequence[Floats]  # the runs of one method: for each task, the scores of all seeds (seeds,)


@dataclass(frozen=True)
class Ranks:
    """The ranks of M methods over N tasks. The best method of a task has rank 1. Ties get the mean of their ranks."""

    mean: Floats  # the mean rank of each method, (M,)
    p: float  # of Friedman's test; its null hypothesis is that a task's ranks could belong to any of the methods
    critical_difference: float  # of Nemenyi: mean ranks that differ by more are different at the 5 % level


def mean_ranks(scores: Floats) -> Ranks:
    """Return the ranks of methods over tasks.

    The p-value is from random permutations of each task's ranks. The usual χ² distribution, and the F distribution of
    Iman and Davenport, are poor approximations for a few tasks. For three methods that have the same order on three
    tasks, the exact p-value is 0.028, and the approximations are 0.050 and 0.

    ``scores`` (N, M) has one score of each of M ≥ 3 methods on each of N ≥ 2 tasks. Raise ValueError if there are
    fewer, or if a score is missing.
    """
    from scipy.stats import rankdata, studentized_range

    tasks, methods = scores.shape
    if tasks < 2 or methods < 3 or not np.isfinite(scores).all():
        raise ValueError(
            f"Mean ranks need at least 2 tasks, at least 3 methods and every score. There are {tasks} tasks and "
            f"{methods} methods."
        )
    ranks = rankdata(-scores, axis=1)
    rng, sums = np.random.default_rng(0), np.zeros((SWAPS, methods))
    for own in ranks:
        sums += rng.permuted(np.tile(own, (SWAPS, 1)), axis=1)
    p = p_value((ranks.sum(0) ** 2).sum(), (sums**2).sum(1))  # Friedman's statistic increases with this sum of squares
    q = studentized_range.ppf(LEVEL, methods, np.inf) / np.sqrt(2)
    difference = q * np.sqrt(methods * (methods + 1) / (6 * tasks))
    return Ranks(ranks.mean(0), p, float(difference))


def probability_of_improvement(x: Floats, y: Floats, drawn_x: Indices, drawn_y: Indices) -> Floats:
    """Return the share (draws,) of pairs of drawn runs in which x scores higher than y. A tie counts half.

    ``x`` (n,) and ``y`` (m,) are the scores of two methods' runs on one task. ``drawn_x`` (draws, n) and ``drawn_y``
    (draws, m) are indices of the runs in each draw.
    """
    points = np.greater.outer(x, y) + np.equal.outer(x, y) / 2
    pairs = (_count_drawn(drawn_x) @ points) * _count_drawn(drawn_y)
    return np.asarray(pairs.sum(1) / points.size)


def _count_drawn(drawn: Indices) -> Floats:
    """Return how often each of the n runs occurs in each draw, (draws, n)."""
    draws, n = drawn.shape
    counts = np.bincount((drawn + n * np.arange(draws)[:, None]).ravel(), minlength=drawn.size)
    return counts.reshape(draws, n).astype(float)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval."""

    value: float
    interval: Interval


def interquartile_mean_of(runs: Runs) -> Estimate:
    """Estimate the interquartile mean (the mean of the middle half) of all runs of a method on all tasks."""
    from scipy.stats import trim_mean

    def value(drawn: list[Indices]) -> Floats:
        scores = [task[indices] for task, indices in zip(runs, drawn, strict=True)]
        return np.asarray(trim_mean(np.concatenate(scores, axis=1), 0.25, axis=1))

    return _estimate(runs, value)


def improvement_of(x: Runs, y: Runs) -> Estimate:
    """Estimate the mean, over tasks, of the probability that a run of x scores higher than a run of y."""

    def value(drawn: list[Indices]) -> Floats:
        of_tasks = zip(x, y, drawn[: len(x)], drawn[len(x) :], strict=True)
        return np.asarray(np.mean([probability_of_improvement(*of_task) for of_task in of_tasks], axis=0))

    return _estimate([*x, *y], value)


def _estimate(samples: Runs, value: Callable[[list[Indices]], Floats]) -> Estimate:
    """Apply ``value`` to the indices of all runs, and to indices that are drawn with replacement within each sample."""
    rng = np.random.default_rng(0)
    observed = [np.arange(len(runs))[None] for runs in samples]
    drawn = [rng.integers(len(runs), size=(DRAWS, len(runs))) for runs in samples]
    return Estimate(float(value(observed)[0]), percentile_interval(value(drawn)))


def equivalence(a: Sequence[Answers], b: Sequence[Answers], metrics: Sequence[str], *, margin: float = MARGIN) -> float:
    """Return the p-value of two one-sided tests. A small value means that the scores differ by less than ``margin``.

    The tests use a paired bootstrap of the examples. ``a[i]`` and ``b[i]`` are runs of the two methods with the same
    seed and the same test set, and ``margin`` is in points. Raise ValueError if the runs cannot be paired.
    """
    require_pairs(a, b)
    drawn_a, drawn_b = paired_bootstrap([a, b], metrics)
    difference = drawn_a - drawn_b
    outside = max(int((difference <= -margin).sum()), int((difference >= margin).sum()))
    return (1 + outside) / (1 + DRAWS)
