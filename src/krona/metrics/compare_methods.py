"""Test differences between methods, with test rows and seeds as random effects.

A statement about methods must also hold for other rows and other seeds. Rows and seeds are therefore random effects,
like cases and readers in Obuchowski and Rockette (1995), and in Hillis (2014) for readers that read under one condition
only. The difference of two mean scores is tested as follows:

1. If both methods have at least three seeds in common, only these seeds are used. Otherwise, all seeds are used.
2. The jackknife estimates the variance over rows (`row_contributions`), from the mean of each row's contributions over
   the seeds.
3. The variance over seeds is the variance of the seeds' scores, divided by the number of seeds. Step 2 already includes
   the part of this variance that comes from single rows. This part is estimated from the variance of each row's
   contribution over the seeds, and subtracted.
4. The variance over seeds is that of the *pool*: the mean over the methods that are compared. The pool excludes a
   method whose variance is more than ten times the median, because one collapsed run would otherwise hide the
   differences between all other methods. It also excludes a method that gets exactly the same score with every seed.
5. If the pair's own variance over seeds is more than twice that of the pool, the pair's own variance is used, with the
   degrees of freedom of Welch (1947). Two samples from three seeds often differ by less.
6. If the seeds have an effect that at least three methods of the pool share (F test, 5 % level), the variance over
   seeds of pairs with the same seeds is computed without this effect, because it does not change their difference.
   Readers that read under all conditions are treated in the same way (Obuchowski and Rockette 1995).
7. The difference is compared with Student's t distribution. Satterthwaite's approximation gives the degrees of freedom
   of the sum of both variances.

`krona.metrics.statistics.holm` corrects the p-values over a family of pairs, such as all pairs with a reference.

With one seed, only the variance over rows is known. The test then compares the trained models, not the methods. With
two seeds, the variance over seeds is so uncertain that a report also speaks only about the trained models.

`python -m benchmarks.calibration` measures false positives, coverage and power.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from krona.metrics.scores import compute_sums, get_metric, score_answers
from krona.metrics.scores.metric import Answers, Floats
from krona.metrics.statistics import Interval, chunks

MAX_DF = 1e6  # the t distribution is then practically normal
MIN_SEEDS = 3  # with fewer seeds, a statement is about the trained models and not about the methods
MAX_RATIO = 10  # methods whose variance over seeds is more than this multiple of the median are not in the pool
OWN_RATIO = 2  # a pair's own variance over seeds is used if it is more than this multiple of the pool's
MIN_POOL = 3  # the smallest number of methods with which a shared effect of the seeds is estimated
SEED_LEVEL = 0.05  # the level of the test for an effect of the seed that all methods share


@dataclass(frozen=True)
class Sample:
    """The runs of a method on a test set.

    Args:
        contributions: the contribution of each row to the score of each run in points (`row_contributions`), (runs, N).
        seeds: the seed of each run. All seeds are different.
    """

    contributions: Floats
    seeds: tuple[int, ...]

    def select(self, seeds: Collection[int]) -> "Sample":
        """Return the runs with these seeds, in ascending order of the seeds."""
        pairs = sorted((seed, index) for index, seed in enumerate(self.seeds) if seed in seeds)
        return Sample(self.contributions[[index for _, index in pairs]], tuple(seed for seed, _ in pairs))


@dataclass(frozen=True)
class Spread:
    """A variance over seeds, the part of it that comes from single rows, and its degrees of freedom."""

    total: float
    noise: float
    df: float

    @property
    def excess(self) -> float:
        return self.total - self.noise


@dataclass(frozen=True)
class Difference:
    """The difference of two methods' mean scores.

    Args:
        value: the difference in points.
        error: its standard error in points.
        df: the degrees of freedom of the standard error.
        seeds: the number of seeds of the method with fewer seeds.
        common: the number of seeds that both methods have.
        rows: the number of test rows (or groups of rows).
    """

    value: float
    error: float
    df: float
    seeds: int
    common: int
    rows: int

    @property
    def of_methods(self) -> bool:
        """True if there are enough seeds for a statement about the methods."""
        return self.seeds >= MIN_SEEDS

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
                rest = sums.value(sums.features.sum(0) - sums.features)
                without[number] += rest * n / (n - 1) if metric.linear else rest  # linear metrics still divide by n
    without /= len(metrics)
    scores = np.array([np.mean([*score_answers(metrics, run).values()]) for run in runs])
    effects = (without.mean(1, keepdims=True) - without) * (n - 1) / n
    return np.asarray(effects + scores[:, None] / n)


def compare_pairs(samples: Sequence[Sample]) -> dict[tuple[int, int], Difference]:
    """Return the difference of each pair of methods, by the methods' positions (i, j) with i < j.

    All samples have the same rows. Usually, either all methods have one seed, or all have several seeds.
    """
    spreads = [_spread(sample.contributions) for sample in samples]
    typical = float(np.median([spread.total for spread in spreads if spread.total] or [0.0]))
    pooled = [index for index, spread in enumerate(spreads) if 0 < spread.total <= MAX_RATIO * typical]
    pool = _mean([spreads[index] for index in pooled])
    shared = _spread_without_seeds([samples[index] for index in pooled], pool)
    mean = cache(lambda index, seeds: samples[index].select(seeds).contributions.mean(0))
    differences = {}
    for i, j in combinations(range(len(samples)), 2):
        seeds_a, seeds_b = frozenset(samples[i].seeds), frozenset(samples[j].seeds)
        common = seeds_a & seeds_b
        if len(common) >= MIN_SEEDS:
            seeds_a = seeds_b = common
        weights = 1 / len(seeds_a), 1 / len(seeds_b)
        of_seeds = Spread(pool.total * sum(weights), pool.noise * sum(weights), pool.df)
        if shared and seeds_a == seeds_b:
            of_seeds = Spread(shared.total * sum(weights), shared.noise * sum(weights), shared.df)
            paired = samples[i].select(seeds_a).contributions - samples[j].select(seeds_a).contributions
            own_spread = _sum([_spread(paired)], weights[:1])
        else:
            own_spread = _sum([spreads[i], spreads[j]], weights)
        if {*pooled} <= {i, j} or own_spread.excess > OWN_RATIO * max(0.0, of_seeds.excess):
            of_seeds = own_spread
        change = mean(i, seeds_a) - mean(j, seeds_b)
        variance = float((change**2).sum()) + max(0.0, of_seeds.excess)
        # The variance of a sum of squares is about the sum of the fourth powers.
        uncertainty = float((change**4).sum()) / 2 + of_seeds.total**2 / max(of_seeds.df, 1)
        degrees = min(variance**2 / uncertainty, MAX_DF) if variance else MAX_DF
        seeds = min(len(seeds_a), len(seeds_b))
        differences[i, j] = Difference(
            float(change.sum()), math.sqrt(variance), degrees, seeds=seeds, common=len(common), rows=len(change)
        )
    return differences


def average(tasks: Sequence[Difference]) -> Difference:
    """Return the mean of two methods' differences over tasks, which are assumed to be independent."""
    variances = [task.error**2 for task in tasks]
    squares = sum(variance**2 / task.df for variance, task in zip(variances, tasks, strict=True))
    return Difference(
        float(np.mean([task.value for task in tasks])),
        math.sqrt(sum(variances)) / len(tasks),
        min(sum(variances) ** 2 / squares, MAX_DF) if squares else MAX_DF,
        seeds=min(task.seeds for task in tasks),
        common=min(task.common for task in tasks),
        rows=sum(task.rows for task in tasks),
    )


def _spread(contributions: Floats) -> Spread:
    """Return the variance of the scores over the seeds, from the `row_contributions` (runs, N); 0 for one seed."""
    if len(contributions) == 1:
        return Spread(0.0, 0.0, 0.0)
    noise = float(contributions.var(0, ddof=1).sum())
    return Spread(float(contributions.sum(1).var(ddof=1)), noise, len(contributions) - 1)


def _mean(spreads: Sequence[Spread]) -> Spread:
    """Return the mean of variances, weighted by their degrees of freedom."""
    df = sum(spread.df for spread in spreads)
    weighted = _sum(spreads, [spread.df / max(df, 1) for spread in spreads])
    return Spread(weighted.total, weighted.noise, df)


def _sum(spreads: Sequence[Spread], weights: Sequence[float]) -> Spread:
    """Return a weighted sum of variances, with the degrees of freedom of Welch (1947, equation 29)."""
    terms = [
        (weight * spread.total, weight * spread.noise, spread.df)
        for weight, spread in zip(weights, spreads, strict=True)
    ]
    total, most = sum(term[0] for term in terms), sum(spread.df for spread in spreads)
    squares = sum(total_term**2 / (df + 2) for total_term, _, df in terms)
    return Spread(total, sum(term[1] for term in terms), min(most, total**2 / squares - 2) if squares else most)


def _spread_without_seeds(samples: Sequence[Sample], pool: Spread) -> Spread | None:
    """Return the pool's variance over seeds without the part that is the same for all methods.

    Return None if the effect of the seed is not significant, or if the pool has fewer than three methods.
    """
    from scipy.special import fdtrc

    common = {*samples[0].seeds}.intersection(*(sample.seeds for sample in samples)) if samples else set[int]()
    if len(samples) < MIN_POOL or len(common) < 2:
        return None
    contributions = np.array([sample.select(common).contributions for sample in samples])  # (methods, seeds, N)
    rest = contributions - contributions.mean(1, keepdims=True) - contributions.mean(0) + contributions.mean((0, 1))
    between, df = len(common) - 1, (len(samples) - 1) * (len(common) - 1)
    total, noise = float((rest.sum(2) ** 2).sum()) / df, float((rest**2).sum()) / df
    of_seeds = len(samples) * float(contributions.sum(2).mean(0).var(ddof=1))
    if not total or fdtrc(between, df, of_seeds / total) > SEED_LEVEL:
        return None
    # Seeds that only some of the methods have are in the pool, but not in this two-way table.
    mean = _mean([_spread(runs) for runs in contributions])
    return Spread(total / mean.total * pool.total, noise / mean.noise * pool.noise, df)
