"""Summaries of methods over several tasks, and the test that two methods are equivalent on one task.

- Mean ranks with the Friedman test and Nemenyi's critical difference (Demsar 2006, section 3.2.2).
- Interquartile mean and probability of improvement with a stratified bootstrap (Agarwal et al. 2021, section 4).
- Two one-sided tests of equivalence (Schuirmann 1987), on the paired bootstrap of the score's difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from krona.metrics.answers import Answers
from krona.metrics.metric import Floats
from krona.metrics.scores import score_by_sums
from krona.metrics.statistics import DRAWS, LEVEL, Interval, paired_bootstrap, percentile_interval

MARGIN = 1.0  # points
Runs = Sequence[Floats]  # of one method: for each task the scores of its seeds, (seeds,)


@dataclass(frozen=True)
class Ranks:
    """Ranks of M methods over N tasks; 1 is the best, ties share the mean of their ranks."""

    mean: Floats  # (M,)
    p: float  # Friedman: all methods have the same mean rank
    critical_difference: float  # Nemenyi: mean ranks further apart differ at the 5 % level


def mean_ranks(scores: Floats) -> Ranks:
    """Rank methods over tasks.

    Args:
        scores: (N, M), one score of each method on each task, with N ≥ 2 and M ≥ 3.

    Raises:
        ValueError: fewer tasks or methods, or a missing score.
    """
    from scipy import stats

    tasks, methods = scores.shape
    if tasks < 2 or methods < 3 or not np.isfinite(scores).all():
        raise ValueError(f"mean ranks need at least 2 tasks, 3 methods and every score; got {tasks} × {methods}")
    ranks = stats.rankdata(-scores, axis=1)
    constant = bool((ranks == ranks[:, :1]).all())  # all methods tie on every task: the statistic is 0 / 0
    p = 1.0 if constant else float(stats.friedmanchisquare(*scores.T).pvalue)
    studentized = float(stats.studentized_range.ppf(LEVEL, methods, np.inf))
    difference = studentized / np.sqrt(2) * np.sqrt(methods * (methods + 1) / (6 * tasks))
    return Ranks(ranks.mean(0), p, float(difference))


def interquartile_mean(values: Floats) -> Floats:
    """Return the mean of the middle half of all values of each draw: (draws, n) → (draws,)."""
    from scipy import stats

    return np.asarray(stats.trim_mean(values, 0.25, axis=1))


def probability_of_improvement(x: Floats, y: Floats) -> Floats:
    """Return the share of pairs of runs in which x is higher, a tie counting half.

    Args:
        x, y: (draws, n) and (draws, m), scores of two methods on one task.

    Returns:
        (draws,)
    """
    difference = x[:, :, None] - y[:, None, :]
    return np.asarray(((difference > 0) + 0.5 * (difference == 0)).mean((1, 2)))


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval."""

    value: float
    interval: Interval


def interquartile_mean_of(runs: Runs, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Estimate a method's interquartile mean over all its runs on all tasks."""
    return _estimate([runs], lambda drawn: interquartile_mean(np.concatenate(drawn[0], axis=1)), draws, seed)


def improvement_of(x: Runs, y: Runs, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Estimate the probability that a run of x is above a run of y on the same task, averaged over tasks."""

    def value(drawn: list[list[Floats]]) -> Floats:
        return np.asarray(np.mean([probability_of_improvement(a, b) for a, b in zip(*drawn, strict=True)], axis=0))

    return _estimate([x, y], value, draws, seed)


def _estimate(
    methods: Sequence[Runs], value: Callable[[list[list[Floats]]], Floats], draws: int, seed: int
) -> Estimate:
    """Apply ``value`` to the runs, and to runs drawn with repetition within each task (stratified bootstrap)."""
    rng = np.random.default_rng(seed)
    observed = [[runs[None] for runs in tasks] for tasks in methods]
    drawn = [[rng.choice(runs, (draws, len(runs))) for runs in tasks] for tasks in methods]
    return Estimate(float(value(observed)[0]), percentile_interval(value(drawn)))


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests: ``p`` is small if score(a) - score(b) lies within ± ``margin`` points."""

    difference: float
    interval: Interval  # 90 %: inside ± margin exactly if p < 0.05
    margin: float
    p: float


def equivalence(
    a: Sequence[Answers],
    b: Sequence[Answers],
    metrics: Sequence[str],
    *,
    margin: float = MARGIN,
    draws: int = DRAWS,
    seed: int = 0,
) -> Equivalence:
    """Test whether two methods are equivalent within a margin on one test set, by a paired bootstrap of its examples.

    Args:
        a, b: predictions of the two methods; ``a[i]`` and ``b[i]`` are runs with the same seed on the same test set.
        metrics: names of metrics, whose mean is the task's score.
        margin: points.

    Raises:
        ValueError: unequal numbers of runs, or different test sets.
    """
    if not a or len(a) != len(b) or any(not np.array_equal(run.truth, a[0].truth) for run in (*a, *b)):
        raise ValueError("An equivalence test needs the same seeds and the same test set on both sides.")
    drawn_a, drawn_b = paired_bootstrap([a, b], metrics, draws=draws, seed=seed)
    drawn = drawn_a - drawn_b
    outside = max(int((drawn <= -margin).sum()), int((drawn >= margin).sum()))
    difference = _mean_score(a, metrics) - _mean_score(b, metrics)
    return Equivalence(difference, percentile_interval(drawn, 0.9), margin, (1 + outside) / (1 + draws))


def _mean_score(runs: Sequence[Answers], metrics: Sequence[str]) -> float:
    return float(np.mean([[*score_by_sums(metrics, run).values()] for run in runs]))
