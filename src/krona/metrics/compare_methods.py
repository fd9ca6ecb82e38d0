"""Test differences between methods, with test rows and seeds as random effects.

A statement about methods must also hold for other rows and other seeds. Therefore, the variance of the difference of
two mean scores is the sum of

1. the variance over seeds of each method's score, divided by the number of seeds, as in the test of Welch (1947), and
2. the variance over rows that is the same for all seeds. The jackknife gives the variance of each row's mean
   contribution over the seeds (`row_contributions`). The part of it that would vanish with more seeds is subtracted,
   because step 1 already contains this part.

The difference is compared with Student's t distribution. Without step 2, this is exactly the test of Welch. Other
methods do not change the result. `krona.metrics.statistics.holm` corrects the p-values over a family of pairs, such as
all pairs with a reference.

With one seed, only the variance over rows is known. The test then compares the trained models, not the methods. With
two seeds, the variance over seeds is so uncertain that a report also speaks only about the trained models.

`python -m benchmarks.calibration` measures false positives and power.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from krona.metrics.scores import compute_sums, get_metric, score_answers
from krona.metrics.scores.metric import Answers, Floats
from krona.metrics.statistics import Interval, chunks

LEVEL = 0.05  # the two-sided significance level of all tests
MAX_DF = 1e6  # the t distribution is then practically normal
MIN_SEEDS = 3  # with fewer seeds, a statement is about the trained models and not about the methods


@dataclass(frozen=True)
class Sample:
    """The runs of a method on a test set.

    Args:
        contributions: the contribution of each row to the score of each run in points (`row_contributions`), (runs, N).
    """

    contributions: Floats

    @property
    def seeds(self) -> int:
        return len(self.contributions)

    @cached_property
    def mean(self) -> Floats:
        """The contribution of each row to the mean score, (N,)."""
        return np.asarray(self.contributions.mean(0))

    @cached_property
    def variance(self) -> float:
        """The variance of the mean score over the seeds, or 0 for one seed."""
        return float(self.contributions.sum(1).var(ddof=1)) / self.seeds if self.seeds > 1 else 0.0

    @cached_property
    def noise(self) -> float:
        """The part of the variance over rows that would vanish with more seeds, or 0 for one seed."""
        return float(self.contributions.var(0, ddof=1).sum()) / self.seeds if self.seeds > 1 else 0.0


@dataclass(frozen=True)
class Difference:
    """The difference of two methods' mean scores.

    Args:
        value: the difference in points.
        error: its standard error in points.
        df: the degrees of freedom of the standard error.
        seeds: the number of seeds of each method.
        rows: the number of test rows (or groups of rows).
    """

    value: float
    error: float
    df: float
    seeds: tuple[int, int]
    rows: int

    def __neg__(self) -> "Difference":
        return replace(self, value=0.0 - self.value, seeds=self.seeds[::-1])  # not -0.0

    @property
    def p(self) -> float:
        """The two-sided p-value."""
        return min(1.0, 2 * self._tail(abs(self.value)))

    def p_equivalent(self, margin: float) -> float:
        """Return the p-value of an equivalence test (TOST, two one-sided tests).

        A small value shows that the difference is below the margin.
        """
        return self._tail(margin - abs(self.value))

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the difference."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.df, 1 - LEVEL / 2)) * self.error
        return self.value - half, self.value + half

    def detectable(self, power: float) -> float:
        """Return the smallest true difference that the test detects with this power at the two-sided 5 % level."""
        from scipy.special import stdtrit

        return float(stdtrit(self.df, 1 - LEVEL / 2) + stdtrit(self.df, power)) * self.error

    def power(self) -> float:
        """Return the probability that the test is significant if ``value`` is the true difference."""
        from scipy.special import nctdtr, stdtrit

        return float(1 - nctdtr(self.df, abs(self.value) / self.error, float(stdtrit(self.df, 1 - LEVEL / 2))))

    def _tail(self, distance: float) -> float:
        from scipy.special import stdtr

        if not self.error:
            return 0.0 if distance > 0 else 1.0
        return float(stdtr(self.df, -distance / self.error))


def mean_score(run: Answers, metrics: Sequence[str]) -> float:
    """Return the mean of the scores of several metrics."""
    return float(np.mean([*score_answers(metrics, run).values()]))


def row_contributions(runs: Sequence[Answers], metrics: Sequence[str]) -> Floats:
    """Return the contribution of each row to the score of each run in points, (runs, N).

    The contributions to a run sum to its score. For accuracy, a correct prediction contributes 100 / N. For other
    metrics, a contribution is the mean contribution plus the effect of the row on the score, by the jackknife (Efron
    and Stein 1981).
    If the rows have groups, N is the number of groups, and the jackknife omits whole groups. N must be at least two.
    """
    n, groups = runs[0].units, runs[0].groups
    without = np.zeros((len(runs), n))  # without[i, j]: the score of run i if row j is omitted
    for name in metrics:
        metric = get_metric(name, runs[0].classes, multilabel=runs[0].is_multilabel)
        if metric.ranked:
            for rows in chunks(n, 4 * n):
                weights = np.ones((rows.stop - rows.start, n))
                weights[np.arange(len(weights)), np.arange(rows.start, rows.stop)] = 0
                without[:, rows] += metric.redrawn_scores(runs, weights if groups is None else weights[:, groups])
        else:
            for number, run in enumerate(runs):
                (sums,) = compute_sums(name, [run])
                without[number] += sums.value(sums.features.sum(0) - sums.features)
    without /= len(metrics)
    scores = np.array([mean_score(run, metrics) for run in runs])
    effects = (without.mean(1, keepdims=True) - without) * (n - 1) / n
    return np.asarray(effects + scores[:, None] / n)


def compare(a: Sample, b: Sample) -> Difference:
    """Return the difference of two methods (a minus b), whose samples have the same rows."""
    change = a.mean - b.mean
    over_rows = float((change**2).sum())
    error, df = combine_variances(
        (a.variance, b.variance),
        (a.seeds, b.seeds),
        lasting=max(0.0, over_rows - a.noise - b.noise),
        # The variance of a sum of squares is about the sum of the fourth powers.
        uncertainty=float((change**4).sum()) / 2,
        least=over_rows / 2,  # the scores of a few seeds can be almost equal by chance
    )
    return Difference(float(change.sum()), error, df, seeds=(a.seeds, b.seeds), rows=len(change))


def combine_variances(
    of_seeds: tuple[float, float], seeds: tuple[int, int], lasting: float, uncertainty: float = 0.0, least: float = 0.0
) -> tuple[float, float]:
    """Return the standard error of a difference and its degrees of freedom.

    Args:
        of_seeds: the variance of each method's mean score over the seeds.
        seeds: the number of seeds of each method.
        lasting: the variance over rows that is the same for all seeds.
        uncertainty: half of the variance of ``lasting``.
        least: the smallest possible variance.
    """
    over_seeds = sum(of_seeds)
    variance = max(over_seeds + lasting, least)
    squares = uncertainty
    if over_seeds:
        welch = sum(part**2 / (n - 1) for part, n in zip(of_seeds, seeds, strict=True) if n > 1)
        # In the formula of Satterthwaite, the ratio would be 1. With few seeds, the variance over seeds is often
        # underestimated, and the degrees of freedom would then be overestimated.
        squares += welch * variance / over_seeds
    return math.sqrt(variance), min(max(variance**2 / squares, 1.0), MAX_DF) if squares else MAX_DF


def average(tasks: Sequence[Difference]) -> Difference:
    """Return the mean of two methods' differences over tasks, which are assumed to be independent."""
    variances = [task.error**2 for task in tasks]
    squares = sum(variance**2 / task.df for variance, task in zip(variances, tasks, strict=True))
    return Difference(
        float(np.mean([task.value for task in tasks])),
        math.sqrt(sum(variances)) / len(tasks),
        min(sum(variances) ** 2 / squares, MAX_DF) if squares else MAX_DF,
        seeds=(min(task.seeds[0] for task in tasks), min(task.seeds[1] for task in tasks)),
        rows=sum(task.rows for task in tasks),
    )
