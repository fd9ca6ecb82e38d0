"""Power of the paired test: the smallest difference of two methods that a test set shows, and the seeds for one.

The model, for metrics that count examples (accuracy; F1 and Matthews in first order, see `Errors.points`):

- Under one seed an example is *discordant*, right under one method alone, with probability d. The true difference is
  δ: the better method is the one that is right with probability (d + δ) / (2d).
- d is `Assumed.unshared` of the two methods' errors together, and never below δ.
- With probability `Assumed.lasting` an example has the same outcome under all seeds; else each seed draws anew. So n
  seeds divide the variance by n only down to that part, which no number of seeds removes.

The test is the one of a report and of `krona diff`: an example's predictions are exchanged in all seeds together
(`krona.metrics.statistics.swap_test`). For one seed and accuracy that is the exact McNemar test. Power is the share of
simulated test sets on which it gives p ≤ 0.05, two-sided.
"""

import math
from collections.abc import Callable
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
    """What is not known before two methods have run; the defaults are measured (docs/reading-the-report.md)."""

    unshared: float = 0.27  # of the errors of two methods, the share that only one of them makes
    lasting: float = 0.2  # of the discordant examples, the share that is so under every seed

    def __post_init__(self) -> None:
        for name, value in (("unshared", self.unshared), ("lasting", self.lasting)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value}: a share is between 0 and 1")
        if not self.unshared:
            raise ValueError("unshared=0: two methods with the same errors have nothing to test")


@dataclass(frozen=True)
class Errors:
    """A test set and how its score counts. ``positive``: the share of class 1, which F1 and Matthews need."""

    metric: str  # accuracy, f1, matthews or correlation
    examples: int
    positive: float = 0.5

    @property
    def points(self) -> float:
        """What one example more that is right adds to the score, in points of 100.

        F1 and Matthews where errors fall equally often on both classes: for a share e of errors and π of positives
        F1 is 1 - e / 2π, and Matthews is 1 - e / 2π(1 - π). A correlation has no such number.
        """
        share = {"f1": 2 * self.positive, "matthews": 2 * self.positive * (1 - self.positive)}.get(self.metric, 1.0)
        return 100 / (share * self.examples)

    @property
    def counts(self) -> bool:
        return self.metric != "correlation"

    def share_wrong(self, score: float) -> float:
        """The share of wrong examples at ``score`` (0-100)."""
        return (100 - score) / (self.points * self.examples)

    def discordant(self, a: float, b: float, assumed: Assumed) -> float:
        """The share of discordant examples of two methods with the scores ``a`` and ``b``."""
        return min(1.0, assumed.unshared * (self.share_wrong(a) + self.share_wrong(b)))


def power(
    errors: Errors, difference: float, *, score: float, seeds: int, assumed: Assumed, draws: int = DRAWS
) -> float:
    """The probability that a true ``difference`` (points) at this ``score`` gives p ≤ 0.05 with ``seeds`` seeds."""
    if not errors.counts:
        return float(_normal(difference / correlation_error(errors, score, seeds, assumed) - _quantile(1 - LEVEL / 2)))
    delta = difference / (errors.points * errors.examples)
    d = max(errors.discordant(score, score, assumed), delta)
    if d > 1:
        return 1.0
    return _share_found(errors.examples, d, delta, seeds, assumed.lasting, draws)


def smallest_difference(errors: Errors, *, score: float, seeds: int, assumed: Assumed) -> float | None:
    """The smallest true difference in points with a power of 80 %; None where not even 100 - ``score`` has that."""

    def found(difference: float) -> bool:
        return power(errors, difference, score=score, seeds=seeds, assumed=assumed) >= POWER

    share = assumed.lasting + (1 - assumed.lasting) / seeds
    d = errors.discordant(score, score, assumed) if errors.counts else 0.0
    guess = 2.8 * math.sqrt(d * share / errors.examples) * errors.points * errors.examples  # by the normal distribution
    return _smallest(found, high=100 - score, guess=guess)


def seeds_needed(errors: Errors, difference: float, *, score: float, assumed: Assumed) -> int | None:
    """The smallest number of seeds with which ``difference`` has a power of 80 %; None where 20 are too few."""

    def found(seeds: int) -> bool:
        return power(errors, difference, score=score, seeds=seeds, assumed=assumed) >= POWER

    low, high = 0, 1
    while not found(high):
        if high == MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def fewest_examples(level: float = LEVEL) -> int:
    """The fewest discordant examples, all one way, with p ≤ ``level``: 6 for 0.05."""
    return math.ceil(math.log2(2 / level))


def best_case(examples: int) -> float:
    """The p of a difference of k examples where all discordant examples go one way: 2 · 0.5^k, at most 1.

    Exact McNemar; no arrangement of two methods' errors that differ by k examples gives a lower one.
    """
    return mcnemar(examples, 0)


def realistic(errors: Errors, a: float, b: float, assumed: Assumed) -> float:
    """The p of two printed scores (single runs) with the assumed share of unshared errors.

    Exact McNemar on d · N discordant examples, of which k more go to the better method; k is the scores' difference
    in examples, d · N is rounded to a number that k can be taken from. A correlation: by the normal distribution with
    `correlation_error`.
    """
    if not errors.counts:
        ratio = abs(a - b) / correlation_error(errors, (a + b) / 2, 1, assumed)
        return float(2 * _normal(-ratio))
    more = examples_apart(errors, a, b)
    both = max(0, round((errors.discordant(a, b, assumed) * errors.examples - more) / 2))  # of each, beside those
    return mcnemar(both + more, both)


def examples_apart(errors: Errors, a: float, b: float) -> int:
    """The difference of two scores in examples, rounded."""
    return round(abs(a - b) / errors.points)


def correlation_error(errors: Errors, score: float, seeds: int, assumed: Assumed) -> float:
    """The standard error of the difference of two methods' Pearson correlations with the same targets, in points.

    Steiger (1980), Eq. 3, for two equal correlations r; the methods' predictions correlate by what they share: r² and,
    of the rest, 1 - `unshared`. Spearman's is taken for equal.
    """
    r = score / 100
    both = r**2 + (1 - r**2) * (1 - assumed.unshared)
    shared = both * (1 - 2 * r**2) - 0.5 * r**2 * (1 - 2 * r**2 - both**2)
    variance = 2 * ((1 - r**2) ** 2 - shared) / errors.examples
    return 100 * math.sqrt(variance * (assumed.lasting + (1 - assumed.lasting) / seeds))


def outcome_chances(d: float, delta: float, seeds: int, lasting: float) -> Floats:
    """(2n + 1,): the probability that an example's sum over n seeds, of 1, 0 or -1 each, is -n … n."""
    one = np.array([(d - delta) / 2, 1 - d, (d + delta) / 2])
    anew = one
    for _ in range(seeds - 1):
        anew = np.convolve(anew, one)
    always = np.zeros(2 * seeds + 1)
    always[[0, seeds, 2 * seeds]] = one
    return np.maximum(lasting * always + (1 - lasting) * anew, 0)


@lru_cache(maxsize=4096)
def _share_found(examples: int, d: float, delta: float, seeds: int, lasting: float, draws: int) -> float:
    """Of ``draws`` test sets the share with p ≤ 0.05 in favour of either method."""
    from scipy.special import bdtr

    chances = outcome_chances(d, delta, seeds, lasting)
    came = np.random.default_rng(0).multinomial(examples, chances / chances.sum(), size=draws)
    size = np.arange(-seeds, seeds + 1, dtype=float)
    if seeds == 1:
        total = came[:, 0] + came[:, 2]
        p = np.minimum(1.0, 2 * bdtr(np.minimum(came[:, 0], came[:, 2]).astype(float), np.maximum(total, 1), 0.5))
        return float((p[total > 0] <= LEVEL).sum() / draws)
    # The sum of exchanged examples: normal, with the correction for its steps of two and for its fourth cumulant.
    gap, variance, fourth = np.abs(came @ size), came @ size**2, -2 * (came @ size**4)
    known = variance > 0
    x = (gap[known] - 1) / np.sqrt(variance[known])
    bump = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * (x**3 - 3 * x) * fourth[known] / variance[known] ** 2 / 24
    return float((2 * (_normal(-x) + bump) <= LEVEL).sum() / draws)


def _smallest(found: Callable[[float], bool], *, high: float, guess: float) -> float | None:
    """By halving, to half a percent; None where ``high`` itself is not found. ``guess`` saves steps."""
    if not found(high):
        return None
    low = 0.0
    for near in (0.9 * guess, 1.3 * guess):
        if low < near < high:
            low, high = (low, near) if found(near) else (near, high)
    while high - low > 5e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def _normal(x: Floats | float) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(x))


def _quantile(p: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(p))
