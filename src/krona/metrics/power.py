"""Compute the power of the paired test: which difference of two methods it can find, and with how many seeds.

The power is the probability that the test finds a true difference. It is estimated with simulated test sets, as the
share of test sets with a two-sided p ≤ 0.05. The simulation assumes a metric that counts examples, such as accuracy.
For F1 and Matthews, the result is a first-order approximation (`Errors.points`). The assumptions are:

- An example is *discordant* if only one of the two methods is right. Under one seed, the probability of this is d. If
  the true difference is δ, the better method is right on a discordant example with probability (d + δ) / (2d).
- d is `Assumed.unshared` times the sum of both methods' shares of errors, and at least δ.
- With probability `Assumed.lasting`, an example has the same outcome under all seeds. Otherwise each seed draws a new
  outcome. More seeds reduce only the variance of the second kind of examples.

The test is `krona.metrics.statistics.swap_test`, as in reports and in `krona diff`. It exchanges the predictions for an
example in all seeds together. For a single seed and accuracy, it is equal to the exact McNemar test.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from krona.metrics.scores.metric import Floats
from krona.metrics.statistics import SwapTest, mcnemar

LEVEL = 0.05  # two-sided
POWER = 0.8
DRAWS = 4_000  # the number of simulated test sets; the error of a power of 80 % is then ± 1.2 points
MOST_SEEDS = 20


@dataclass(frozen=True)
class Assumed:
    """Two quantities that are unknown before the methods have run. docs/reading-the-report.md explains the defaults."""

    unshared: float = 0.27  # the share of two methods' errors that only one of the methods makes; above 0
    lasting: float = 0.2  # the share of discordant examples that are discordant under every seed


@dataclass(frozen=True)
class Errors:
    """A test set and its metric, with methods that convert between scores and numbers of wrong examples."""

    metric: str  # accuracy, f1, matthews or correlation
    examples: int
    positive: float = 0.5  # the share of examples of class 1, for F1 and Matthews

    @property
    def points(self) -> float:
        """The number of points by which one more correct example increases the score (0-100).

        Let e be the share of errors and π the share of positives. If the errors are balanced over the classes, F1 is
        1 - e / 2π and Matthews is 1 - e / 2π(1 - π). For a correlation the number is meaningless.
        """
        share = {"f1": 2 * self.positive, "matthews": 2 * self.positive * (1 - self.positive)}.get(self.metric, 1.0)
        return 100 / (share * self.examples)

    @property
    def counts(self) -> bool:
        """True for a metric that counts examples, and false for a correlation."""
        return self.metric != "correlation"

    def share_wrong(self, score: float) -> float:
        """Return the share of wrong examples for a score (0-100)."""
        return (100 - score) / (self.points * self.examples)

    def discordant(self, a: float, b: float, assumed: Assumed) -> float:
        """Return the share of discordant examples of two methods with the scores ``a`` and ``b``."""
        return min(1.0, assumed.unshared * (self.share_wrong(a) + self.share_wrong(b)))


def power(
    errors: Errors, difference: float, *, score: float, seeds: int, assumed: Assumed, draws: int = DRAWS
) -> float:
    """Return the power of the test: the probability of p ≤ 0.05 if the methods have a true difference.

    Args:
        difference: the true difference of the methods in points.
        score: the approximate score of both methods.
        seeds: the number of seeds of each method.
        draws: the number of simulated test sets.
    """
    if not errors.counts:
        from scipy.special import ndtr, ndtri

        return float(ndtr(difference / correlation_error(errors, score, seeds, assumed) - float(ndtri(1 - LEVEL / 2))))
    delta = difference / (errors.points * errors.examples)
    d = max(errors.discordant(score, score, assumed), delta)
    if d > 1:
        return 1.0
    return _share_found(errors.examples, d, delta, seeds, assumed.lasting, draws)


def smallest_difference(errors: Errors, *, score: float, seeds: int, assumed: Assumed) -> float | None:
    """Return the smallest true difference (points) that the test finds with a power of 80 %.

    The function uses bisection. The relative error of the result is at most half a percent. Return None if the power is
    below 80 % even for the difference 100 - ``score``. The arguments are those of `power`.
    """

    def is_found(difference: float) -> bool:
        return power(errors, difference, score=score, seeds=seeds, assumed=assumed) >= POWER

    low, high = 0.0, 100 - score
    if not is_found(high):
        return None
    share = assumed.lasting + (1 - assumed.lasting) / seeds
    d = errors.discordant(score, score, assumed) if errors.counts else 0.0
    guess = 2.8 * math.sqrt(d * share / errors.examples) * errors.points * errors.examples  # normal approximation
    for near in (0.9 * guess, 1.3 * guess):
        if low < near < high:
            low, high = (low, near) if is_found(near) else (near, high)
    while high - low > 5e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def seeds_needed(errors: Errors, difference: float, *, score: float, assumed: Assumed) -> int | None:
    """Return the smallest number of seeds with which the test finds ``difference`` (points) with a power of 80 %.

    Return None if 20 seeds are not enough.
    """

    def is_found(seeds: int) -> bool:
        return power(errors, difference, score=score, seeds=seeds, assumed=assumed) >= POWER

    seeds = 1 + bisect_left(range(1, MOST_SEEDS + 1), True, key=is_found)
    return seeds if seeds <= MOST_SEEDS else None


def detectable_difference(test: SwapTest) -> float:
    """Return the smallest difference (points) that a paired test of two methods finds with a power of 80 %."""
    from scipy.special import ndtri

    return float(ndtri(1 - LEVEL / 2) + ndtri(POWER)) * float(np.std(test.null))


def fewest_examples() -> int:
    """Return the smallest number of discordant examples that can give p ≤ `LEVEL`, if one method is right on all."""
    return math.ceil(math.log2(2 / LEVEL))


def realistic_p(errors: Errors, a: float, b: float, assumed: Assumed) -> float:
    """Return an estimated p-value for two published scores of single runs.

    It is the exact McNemar p-value for d · N discordant examples, where d follows from the assumed share of unshared
    errors. The better method is right on k more of these examples than the other method. k is the difference of the
    scores as a number of examples, and d · N is rounded so that this is possible. For a correlation, the p-value is
    that of a normal distribution with the standard error `correlation_error`.
    """
    if not errors.counts:
        from scipy.special import ndtr

        return float(2 * ndtr(-abs(a - b) / correlation_error(errors, (a + b) / 2, 1, assumed)))
    more = examples_apart(errors, a, b)
    # for each method, the examples on which only this method is right, without the ``more`` examples
    both = max(0, round((errors.discordant(a, b, assumed) * errors.examples - more) / 2))
    return mcnemar(both + more, both)


def examples_apart(errors: Errors, a: float, b: float) -> int:
    """Return the difference of two scores, converted to a number of examples and rounded."""
    return round(abs(a - b) / errors.points)


def correlation_error(errors: Errors, score: float, seeds: int, assumed: Assumed) -> float:
    """Return the standard error (points) of the difference of two methods' Pearson correlations with the same targets.

    The formula is Eq. 3 of Steiger (1980) for two equal correlations r. The correlation between the two methods'
    predictions is assumed to be r² + (1 - r²)(1 - `Assumed.unshared`). Spearman's correlation is treated like
    Pearson's.
    """
    r = score / 100
    both = r**2 + (1 - r**2) * (1 - assumed.unshared)
    shared = both * (1 - 2 * r**2) - 0.5 * r**2 * (1 - 2 * r**2 - both**2)
    variance = 2 * ((1 - r**2) ** 2 - shared) / errors.examples
    return 100 * math.sqrt(variance * (assumed.lasting + (1 - assumed.lasting) / seeds))


def outcome_chances(d: float, delta: float, seeds: int, lasting: float) -> Floats:
    """Return the probabilities of the sums of an example's outcomes over n seeds.

    The outcome of a seed is 1, 0 or -1. The result has the shape (2n + 1,), for the sums from -n to n.
    """
    one = np.array([(d - delta) / 2, 1 - d, (d + delta) / 2])
    independent = one
    for _ in range(seeds - 1):
        independent = np.convolve(independent, one)
    always = np.zeros(2 * seeds + 1)
    always[[0, seeds, 2 * seeds]] = one
    return np.maximum(lasting * always + (1 - lasting) * independent, 0)


@lru_cache(maxsize=4096)
def _share_found(examples: int, d: float, delta: float, seeds: int, lasting: float, draws: int) -> float:
    """Return the share of ``draws`` simulated test sets with p ≤ 0.05. Either method may be the better one."""
    from scipy.special import bdtr, ndtr

    chances = outcome_chances(d, delta, seeds, lasting)
    counts = np.random.default_rng(0).multinomial(examples, chances / chances.sum(), size=draws)
    size = np.arange(-seeds, seeds + 1, dtype=float)
    if seeds == 1:
        total = counts[:, 0] + counts[:, 2]
        p = np.minimum(1.0, 2 * bdtr(np.minimum(counts[:, 0], counts[:, 2]).astype(float), np.maximum(total, 1), 0.5))
        return float((p[total > 0] <= LEVEL).sum() / draws)
    # Approximate the distribution of the sum over exchanged examples by a normal distribution. Correct it for the steps
    # of two in the sum (continuity) and for its fourth cumulant.
    gap, variance, fourth = np.abs(counts @ size), counts @ size**2, -2 * (counts @ size**4)
    known = variance > 0
    x = (gap[known] - 1) / np.sqrt(variance[known])
    bump = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * (x**3 - 3 * x) * fourth[known] / variance[known] ** 2 / 24
    return float((2 * (ndtr(-x) + bump) <= LEVEL).sum() / draws)
