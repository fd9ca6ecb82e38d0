"""Compute the power of the tests in reports, the smallest difference that they detect, and the number of seeds needed.

The test is that of `krona.metrics.compare_methods`, and the power is computed from a noncentral t distribution. With
one seed, the test compares two trained models. The computation assumes a metric that counts examples, such as accuracy.
For F1 and Matthews, the result is a first-order approximation (`Errors.points`). The assumptions are:

- An example is *discordant* if only one of the two methods is right. With one seed, its probability is d.
- d is `Assumed.unshared` times the sum of both methods' shares of errors, and at least δ.
- With probability `Assumed.lasting`, an example has the same outcome under all seeds. Otherwise, each seed draws a new
  outcome. More seeds reduce only the variance of examples with new outcomes.
- The true scores of a method's trained models also vary, with the standard deviation `Assumed.seed_sd`.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass

from krona.metrics.compare_methods import MAX_DF, Difference, combine_variances

POWER = 0.8
MOST_SEEDS = 20


@dataclass(frozen=True)
class Assumed:
    """Assumptions about methods for which there are no runs yet. docs/reading-the-report.md explains the defaults."""

    unshared: float = 0.27  # the share of two methods' errors that only one of the methods makes; above 0
    lasting: float = 0.2  # the share of discordant examples that are discordant under every seed
    seed_sd: float = 0.5  # standard deviation of the true scores of a method's trained models, in points


@dataclass(frozen=True)
class Errors:
    """A test set and its metric, with methods that convert between scores and numbers of wrong examples."""

    metric: str  # accuracy, f1, matthews or correlation
    examples: int
    positive: float = 0.5  # the share of examples of class 1, for F1 and Matthews

    @property
    def points(self) -> float:
        """The number of points by which an additional correct example increases the score (0-100).

        Let e be the share of errors and π the share of positives. If the errors are balanced over the classes, F1 is
        1 - e / 2π and Matthews is 1 - e / 2π(1 - π). For a correlation the number is meaningless.
        """
        share = {"f1": 2 * self.positive, "matthews": 2 * self.positive * (1 - self.positive)}.get(self.metric, 1.0)
        return 100 / (share * self.examples)

    @property
    def counts(self) -> bool:
        """True for metrics that count examples, and false for correlations."""
        return self.metric != "correlation"

    def share_wrong(self, score: float) -> float:
        """Return the share of wrong examples for a score (0-100)."""
        return (100 - score) / (self.points * self.examples)

    def discordant(self, a: float, b: float, assumed: Assumed) -> float:
        """Return the share of discordant examples of two methods with the scores ``a`` and ``b``."""
        return min(1.0, assumed.unshared * (self.share_wrong(a) + self.share_wrong(b)))


def power(errors: Errors, difference: float, *, score: float, seeds: int, assumed: Assumed) -> float:
    """Return the power of the test: the probability of p ≤ 0.05 if the true scores differ by ``difference``.

    Args:
        difference: the true difference of the methods in points.
        score: the approximate score of both methods.
        seeds: the number of seeds of each method.
    """
    if errors.counts:
        full_score = errors.points * errors.examples
        d = max(errors.discordant(score, score, assumed), difference / full_score)
        if d > 1:
            return 1.0
        single = d * full_score**2 / errors.examples  # the variance over rows with one seed
    else:
        single = correlation_error(errors, score, assumed) ** 2
    if seeds == 1:
        return Difference(difference, math.sqrt(single), MAX_DF, (1, 1), errors.examples).power()
    of_seeds = (single * (1 - assumed.lasting) / 2 + assumed.seed_sd**2) / seeds
    error, df = combine_variances((of_seeds, of_seeds), (seeds, seeds), single * assumed.lasting)
    return Difference(difference, error, df, (seeds, seeds), errors.examples).power()


def smallest_difference(errors: Errors, *, score: float, seeds: int, assumed: Assumed) -> float | None:
    """Return the smallest true difference (points) that the test detects with a power of 80 %.

    The relative error of the bisection is at most half a percent. Return None if the power is below 80 % even for the
    difference 100 - ``score``. The arguments are those of `power`.
    """

    def is_found(difference: float) -> bool:
        return power(errors, difference, score=score, seeds=seeds, assumed=assumed) >= POWER

    low, high = 0.0, 100 - score
    if not is_found(high):
        return None
    while high - low > 5e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def seeds_needed(errors: Errors, difference: float, *, score: float, assumed: Assumed) -> int | None:
    """Return the smallest number of seeds with which the test detects ``difference`` (points) with a power of 80 %.

    Return None if 20 seeds are not enough.
    """

    def is_found(seeds: int) -> bool:
        return power(errors, difference, score=score, seeds=seeds, assumed=assumed) >= POWER

    seeds = 1 + bisect_left(range(1, MOST_SEEDS + 1), True, key=is_found)
    return seeds if seeds <= MOST_SEEDS else None


def correlation_error(errors: Errors, score: float, assumed: Assumed) -> float:
    """Return the standard error (points) of the difference of two runs' Pearson correlations with the same targets.

    The formula is Eq. 3 of Steiger (1980) for two equal correlations r. The correlation between the two methods'
    predictions is assumed to be r² + (1 - r²)(1 - `Assumed.unshared`). Spearman's correlation is treated like
    Pearson's.
    """
    r = score / 100
    both = r**2 + (1 - r**2) * (1 - assumed.unshared)
    shared = both * (1 - 2 * r**2) - 0.5 * r**2 * (1 - 2 * r**2 - both**2)
    return 100 * math.sqrt(2 * ((1 - r**2) ** 2 - shared) / errors.examples)
