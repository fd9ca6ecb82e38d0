"""Power of the paired test: the smallest difference of two methods that a test set can show, and the seeds for one.

The model, for metrics that count examples (accuracy; F1 and Matthews in first order, see `Errors.points`):

- Under one seed an example is *discordant*, right under one method alone, with probability d. The true difference is δ:
  the better method is the one that is right with probability (d + δ) / (2d).
- d is the share `Assumed.unshared` of the two methods' errors together, and at least δ.
- With probability `Assumed.lasting` an example has the same outcome under all seeds; otherwise each seed draws again.
  So n seeds divide the variance by n only down to this part.

The test is that of reports and of `krona diff`: an example's predictions are exchanged in all seeds together
(`krona.metrics.statistics.swap_test`). For one seed and accuracy that is the exact McNemar test. Power is the share of
simulated test sets with p ≤ 0.05, two-sided.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from krona.metrics.metric import Floats
from krona.metrics.statistics import mcnemar

LEVEL = 0.05  # two-sided
POWER = 0.8
DRAWS = 4_000  # simulated test sets: a power of 80 % to ± 1.2 points
MOST_SEEDS = 20


@dataclass(frozen=True)
class Assumed:
    """Quantities that are unknown before two methods have run. docs/reading-the-report.md explains the defaults."""

    unshared: float = 0.27  # of the errors of two methods, the share that only one of them makes
    lasting: float = 0.2  # of the discordant examples, the share that is discordant under every seed

    def __post_init__(self) -> None:
        for name, value in (("unshared", self.unshared), ("lasting", self.lasting)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value} is not a share between 0 and 1.")
        if not self.unshared:
            raise ValueError("unshared=0: two methods with the same errors have no difference to test.")


@dataclass(frozen=True)
class Errors:
    """A test set and the effect of an error on its score."""

    metric: str  # accuracy, f1, matthews or correlation
    examples: int
    positive: float = 0.5  # the share of class 1, for F1 and Matthews

    @property
    def points(self) -> float:
        """Effect of one more right example on the score, in points of 100.

        If errors are balanced over the classes, with a share e of errors and π of positives, F1 is 1 - e / 2π and
        Matthews is 1 - e / 2π(1 - π). A correlation has no such number.
        """
        share = {"f1": 2 * self.positive, "matthews": 2 * self.positive * (1 - self.positive)}.get(self.metric, 1.0)
        return 100 / (share * self.examples)

    @property
    def counts(self) -> bool:
        """Whether the metric counts examples."""
        return self.metric != "correlation"

    def share_wrong(self, score: float) -> float:
        """Return the share of wrong examples at a score (0-100)."""
        return (100 - score) / (self.points * self.examples)

    def discordant(self, a: float, b: float, assumed: Assumed) -> float:
        """Return the share of discordant examples of two methods with the scores ``a`` and ``b``."""
        return min(1.0, assumed.unshared * (self.share_wrong(a) + self.share_wrong(b)))


def power(
    errors: Errors, difference: float, *, score: float, seeds: int, assumed: Assumed, draws: int = DRAWS
) -> float:
    """Return the probability that a true ``difference`` (points) at this score gives p ≤ 0.05 with ``seeds`` seeds."""
    if not errors.counts:
        from scipy.special import ndtr, ndtri

        return float(ndtr(difference / correlation_error(errors, score, seeds, assumed) - float(ndtri(1 - LEVEL / 2))))
    delta = difference / (errors.points * errors.examples)
    d = max(errors.discordant(score, score, assumed), delta)
    if d > 1:
        return 1.0
    return _share_found(errors.examples, d, delta, seeds, assumed.lasting, draws)


def smallest_difference(errors: Errors, *, score: float, seeds: int, assumed: Assumed) -> float | None:
    """Return the smallest true difference (points) with a power of 80 %, to half a percent, by bisection.

    It is None if not even 100 - ``score`` has that power.
    """

    def is_found(difference: float) -> bool:
        return power(errors, difference, score=score, seeds=seeds, assumed=assumed) >= POWER

    low, high = 0.0, 100 - score
    if not is_found(high):
        return None
    share = assumed.lasting + (1 - assumed.lasting) / seeds
    d = errors.discordant(score, score, assumed) if errors.counts else 0.0
    guess = 2.8 * math.sqrt(d * share / errors.examples) * errors.points * errors.examples  # by the normal distribution
    for near in (0.9 * guess, 1.3 * guess):
        if low < near < high:
            low, high = (low, near) if is_found(near) else (near, high)
    while high - low > 5e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def seeds_needed(errors: Errors, difference: float, *, score: float, assumed: Assumed) -> int | None:
    """Return the smallest number of seeds with which ``difference`` has a power of 80 %, or None if 20 are too few."""

    def is_found(seeds: int) -> bool:
        return power(errors, difference, score=score, seeds=seeds, assumed=assumed) >= POWER

    seeds = 1 + bisect_left(range(1, MOST_SEEDS + 1), True, key=is_found)
    return seeds if seeds <= MOST_SEEDS else None


def fewest_examples(level: float = LEVEL) -> int:
    """Return the smallest number of discordant examples, all one way, with p ≤ ``level``: 6 for 0.05."""
    return math.ceil(math.log2(2 / level))


def best_case_p(examples: int) -> float:
    """Return the exact McNemar p of k discordant examples that all go one way: 2 · 0.5^k, at most 1.

    No arrangement of the errors of two methods that differ by k examples has a lower p.
    """
    return mcnemar(examples, 0)


def realistic_p(errors: Errors, a: float, b: float, assumed: Assumed) -> float:
    """Return the p of two printed scores (single runs) with the assumed share of unshared errors.

    It is the exact McNemar p of d · N discordant examples, of which k more go to the better method; k is the difference
    of the scores in examples, and d · N is rounded so that it fits k. For a correlation it is that of the normal
    distribution with `correlation_error`.
    """
    if not errors.counts:
        from scipy.special import ndtr

        return float(2 * ndtr(-abs(a - b) / correlation_error(errors, (a + b) / 2, 1, assumed)))
    more = examples_apart(errors, a, b)
    both = max(
        0, round((errors.discordant(a, b, assumed) * errors.examples - more) / 2)
    )  # of each method, besides those
    return mcnemar(both + more, both)


def examples_apart(errors: Errors, a: float, b: float) -> int:
    """Return the difference of two scores in examples, rounded."""
    return round(abs(a - b) / errors.points)


def correlation_error(errors: Errors, score: float, seeds: int, assumed: Assumed) -> float:
    """Return the standard error (points) of the difference of two methods' Pearson correlations with the same targets.

    It is Eq. 3 of Steiger (1980) for two equal correlations r. The predictions of the methods correlate by the part
    that they share: r² and, of the rest, 1 - `unshared`. Spearman's correlation is treated as equal.
    """
    r = score / 100
    both = r**2 + (1 - r**2) * (1 - assumed.unshared)
    shared = both * (1 - 2 * r**2) - 0.5 * r**2 * (1 - 2 * r**2 - both**2)
    variance = 2 * ((1 - r**2) ** 2 - shared) / errors.examples
    return 100 * math.sqrt(variance * (assumed.lasting + (1 - assumed.lasting) / seeds))


def outcome_chances(d: float, delta: float, seeds: int, lasting: float) -> Floats:
    """Return the probabilities, (2n + 1,), that the sum of an example's n outcomes of 1, 0 or -1 is -n … n."""
    one = np.array([(d - delta) / 2, 1 - d, (d + delta) / 2])
    independent = one
    for _ in range(seeds - 1):
        independent = np.convolve(independent, one)
    always = np.zeros(2 * seeds + 1)
    always[[0, seeds, 2 * seeds]] = one
    return np.maximum(lasting * always + (1 - lasting) * independent, 0)


@lru_cache(maxsize=4096)
def _share_found(examples: int, d: float, delta: float, seeds: int, lasting: float, draws: int) -> float:
    """Return the share of ``draws`` simulated test sets with p ≤ 0.05 in favour of either method."""
    from scipy.special import bdtr, ndtr

    chances = outcome_chances(d, delta, seeds, lasting)
    counts = np.random.default_rng(0).multinomial(examples, chances / chances.sum(), size=draws)
    size = np.arange(-seeds, seeds + 1, dtype=float)
    if seeds == 1:
        total = counts[:, 0] + counts[:, 2]
        p = np.minimum(1.0, 2 * bdtr(np.minimum(counts[:, 0], counts[:, 2]).astype(float), np.maximum(total, 1), 0.5))
        return float((p[total > 0] <= LEVEL).sum() / draws)
    # The sum of exchanged examples: normal, with the correction for its steps of two and for its fourth cumulant.
    gap, variance, fourth = np.abs(counts @ size), counts @ size**2, -2 * (counts @ size**4)
    known = variance > 0
    x = (gap[known] - 1) / np.sqrt(variance[known])
    bump = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * (x**3 - 3 * x) * fourth[known] / variance[known] ** 2 / 24
    return float((2 * (ndtr(-x) + bump) <= LEVEL).sum() / draws)
