"""Test differences between methods, with test rows and seeds as random effects.

A statement about methods must also hold for other rows and other seeds. Rows and seeds are therefore random effects,
like cases and readers in Obuchowski and Rockette (1995), and in Hillis (2014) for readers that read under one condition
only. The difference of two mean scores is tested as follows:

1. The jackknife estimates the variance over rows (`row_shares`), from the mean of each row's shares over the seeds.
2. The variance over seeds is the variance of the seeds' scores, divided by the number of seeds. Step 1 already includes
   the part of this variance that comes from single rows. This part is estimated from the variance of each row's share
   over the seeds, and subtracted.
3. The variance over seeds is that of the two methods, or the mean over all methods of the column if the mean is larger.
4. The difference is compared with Student's t distribution. Satterthwaite's approximation gives the degrees of freedom
   of the sum of both variances.
5. `krona.metrics.statistics.holm` corrects the p-values over all pairs, because the best method is not known in
   advance.

With one seed, only the variance over rows is known. The test then compares the trained models, not the methods.

`python benchmarks/calibration.py` measures false positives, coverage and power.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from krona.metrics.scores import compute_sums, get_metric, score_answers
from krona.metrics.scores.metric import Answers, Floats
from krona.metrics.statistics import Interval, chunks

MAX_DF = 1e6  # the t distribution is then practically normal


@dataclass(frozen=True)
class Sample:
    """A method's mean score over seeds, and the parts of its variance. All values are in points.

    Args:
        shares: the mean over the seeds of each row's share of the score, (N,).
        runs: the number of seeds.
        spread: the variance of the scores over the seeds; 0 for one seed.
        noise: the part of ``spread`` that comes from single rows.
        df: the degrees of freedom of ``spread``; 0 for one seed.
    """

    mean: float
    shares: Floats
    runs: int
    spread: float
    noise: float
    df: float


@dataclass(frozen=True)
class Difference:
    """The difference of two methods' mean scores, its standard error (both in points), and the degrees of freedom."""

    value: float
    error: float
    df: float

    @property
    def p(self) -> float:
        """The two-sided p-value."""
        return min(1.0, 2 * self._tail(abs(self.value)))

    def p_equivalent(self, margin: float) -> float:
        """Return the p-value of two one-sided tests. A small value shows that the difference is below the margin."""
        return self._tail(margin - abs(self.value))

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the difference."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.df, 0.975)) * self.error
        return self.value - half, self.value + half

    def detectable(self, power: float) -> float:
        """Return the smallest true difference that the test detects with this power at the two-sided 5 % level."""
        from scipy.special import stdtrit

        return float(stdtrit(self.df, 0.975) + stdtrit(self.df, power)) * self.error

    def _tail(self, distance: float) -> float:
        from scipy.special import stdtr

        if not self.error:
            return 0.0 if distance > 0 else 1.0
        return float(stdtr(self.df, -distance / self.error))


def row_shares(runs: Sequence[Answers], metrics: Sequence[str]) -> Floats:
    """Return the contribution of each row to the score of each run in points, (runs, N).

    The contributions to a run sum to its score. For accuracy, a correct prediction contributes 100 / N. For other
    metrics, a contribution is the mean contribution plus the effect of the row on the score, by the jackknife (Efron
    and Stein 1981).
    If the rows have groups, N is the number of groups, and the jackknife omits whole groups. N must be at least two.
    """
    n, groups = runs[0].units, runs[0].groups
    without = np.zeros((len(runs), n))  # without[i, j]: the score of run i if row j is omitted
    for name in metrics:
        metric = get_metric(name, runs[0].classes)
        if metric.ranked:
            for rows in chunks(n, 4 * n):
                weights = np.ones((rows.stop - rows.start, n))
                weights[np.arange(len(weights)), np.arange(rows.start, rows.stop)] = 0
                without[:, rows] += metric.redrawn_scores(runs, weights if groups is None else weights[:, groups])
        else:
            for number, run in enumerate(runs):
                (sums,) = compute_sums(name, [run])
                rest = sums.value(sums.features.sum(0) - sums.features)
                without[number] += rest * n / (n - 1) if metric.linear else rest  # linear metrics still divide by n
    without /= len(metrics)
    scores = np.array([np.mean([*score_answers(metrics, run).values()]) for run in runs])
    effects = (without.mean(1, keepdims=True) - without) * (n - 1) / n
    return np.asarray(effects + scores[:, None] / n)


def measure(shares: Floats) -> Sample:
    """Return the `Sample` of a method from its `row_shares` (runs, N)."""
    scores, runs = shares.sum(1), len(shares)
    spread = noise = 0.0
    if runs > 1:
        spread, noise = float(scores.var(ddof=1)), float(shares.var(0, ddof=1).sum())
    return Sample(float(scores.mean()), shares.mean(0), runs, spread, noise, runs - 1)


def average(samples: Sequence[Sample]) -> Sample:
    """Return the `Sample` of a method's mean over tasks, which are assumed to be independent.

    If any task has only one seed, the variance over seeds is omitted for all tasks.
    """
    tasks, runs = len(samples), min(one.runs for one in samples)
    weights = [(runs > 1) * runs / one.runs / tasks**2 for one in samples]
    spreads = [weight * one.spread for weight, one in zip(weights, samples, strict=True)]
    squares = sum(spread**2 / one.df for spread, one in zip(spreads, samples, strict=True) if spread)
    df = sum(spreads) ** 2 / squares if squares else sum(one.df for one in samples)
    return Sample(
        float(np.mean([one.mean for one in samples])),
        np.concatenate([one.shares for one in samples]) / tasks,
        runs,
        sum(spreads),
        sum(weight * one.noise for weight, one in zip(weights, samples, strict=True)),
        df if runs > 1 else 0,
    )


def compare_pairs(samples: Sequence[Sample]) -> dict[tuple[int, int], Difference]:
    """Return the difference of each pair of methods, by the methods' positions (i, j) with i < j.

    Either all methods must have one seed, or all must have several seeds.
    """
    df = sum(one.df for one in samples)
    spread = sum(one.df * one.spread for one in samples) / max(df, 1)
    noise = sum(one.df * one.noise for one in samples) / max(df, 1)
    found = {}
    for i, j in combinations(range(len(samples)), 2):
        a, b = samples[i], samples[j]
        change = (a.shares - b.shares) ** 2
        of_rows = float(change.sum())
        pooled = spread * (1 / a.runs + 1 / b.runs), noise * (1 / a.runs + 1 / b.runs)
        own = a.spread / a.runs + b.spread / b.runs, a.noise / a.runs + b.noise / b.runs
        of_seeds, counted_twice = max(pooled, own, key=lambda parts: parts[0] - parts[1])
        variance = of_rows + max(0.0, of_seeds - counted_twice)
        # The variance of a sum of squares is about the sum of the fourth powers.
        uncertainty = float((change**2).sum()) / 2 + of_seeds**2 / max(df, 1)
        degrees = min(variance**2 / uncertainty, MAX_DF) if uncertainty else MAX_DF
        found[i, j] = Difference(a.mean - b.mean, math.sqrt(variance), degrees)
    return found
