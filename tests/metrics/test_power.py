"""Test the power computation against closed forms, SciPy's binomials and Connor's formula."""

import math

import numpy as np
import pytest
from scipy import stats

from krona.metrics import power
from krona.metrics.power import Assumed, Errors
from krona.metrics.statistics import SwapTest, mcnemar

TOLERANCE = 0.003  # of a share of test sets
RTE, SST2 = Errors("accuracy", 139), Errors("accuracy", 872)


def exact_power(n, d, delta):
    """Return the power of the exact McNemar test, a sum over all numbers of discordant examples and outcomes."""
    found = 0.0
    for total in range(1, n + 1):
        better = np.arange(total + 1)
        p = 2 * stats.binom.cdf(np.minimum(better, total - better), total, 0.5)
        found += stats.binom.pmf(total, n, d) * stats.binom.pmf(better[p <= 0.05], total, (1 + delta / d) / 2).sum()
    return found


@pytest.mark.parametrize("unshared", [0.1, 0.27])
def test_one_seed_is_the_exact_mcnemar_test(unshared):
    assumed, delta = Assumed(unshared=unshared), 8.0
    d = max(unshared * 2 * 0.25, delta / 100)
    found = power.power(RTE, delta, score=75, seeds=1, assumed=assumed, draws=40_000)
    assert found == pytest.approx(exact_power(139, d, delta / 100), abs=4 * math.sqrt(0.25 / 40_000))


def exact_swap_p(counts):
    """Return the two-sided p-value of exchanging examples, for the numbers of examples with the sums -n … n."""
    seeds = len(counts) // 2
    distribution = np.ones(1)  # of the sum over examples, with 0 in the middle
    for size in range(1, seeds + 1):
        number = counts[seeds - size] + counts[seeds + size]
        own = np.zeros(2 * size * number + 1)
        own[:: 2 * size] = stats.binom.pmf(np.arange(number + 1), number, 0.5)
        distribution = np.convolve(distribution, own)
    gap = abs(counts @ np.arange(-seeds, seeds + 1))
    return distribution[np.abs(np.arange(len(distribution)) - len(distribution) // 2) >= gap].sum()


def test_several_seeds_are_the_exact_randomisation_test():
    """The simulated test sets are the same, so only the approximation of the p-value can differ."""
    examples, d, delta, seeds, lasting, draws = 60, 0.2, 0.1, 3, 0.3, 4000
    chances = power.outcome_chances(d, delta, seeds, lasting)
    counts = np.random.default_rng(0).multinomial(examples, chances / chances.sum(), size=draws)
    expected = sum(exact_swap_p(one) <= 0.05 for one in counts) / draws
    assert power._share_found(examples, d, delta, seeds, lasting, draws) == pytest.approx(expected, abs=TOLERANCE)


def test_the_detectable_difference_is_that_of_a_normal_null():
    null = np.random.default_rng(0).normal(scale=2.0, size=10_000)
    found = power.detectable_difference(SwapTest(0.0, null, 1.0))
    assert found == pytest.approx((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * null.std())


def test_the_smallest_difference_has_the_power_and_large_sets_have_connors():
    large, assumed = Errors("accuracy", 20_000), Assumed(unshared=0.3)
    found = power.smallest_difference(large, score=90, seeds=1, assumed=assumed) / 100
    d = 0.3 * 2 * 0.1
    needed = (1.95996 * math.sqrt(d) + 0.84162 * math.sqrt(d - found**2)) ** 2 / found**2  # Connor (1987), Eq. 3
    assert needed == pytest.approx(20_000, rel=0.04)


def test_seeds_divide_all_but_what_lasts():
    def least(seeds, lasting):
        return power.smallest_difference(SST2, score=90, seeds=seeds, assumed=Assumed(0.3, lasting))

    assert least(9, 0.0) == pytest.approx(least(1, 0.0) / 3, rel=0.15)
    assert least(9, 1.0) == pytest.approx(least(1, 1.0), rel=0.1)


def test_seeds_needed_is_the_first_number_with_the_power():
    needed = power.seeds_needed(SST2, 1.5, score=90, assumed=Assumed())
    powers = [power.power(SST2, 1.5, score=90, seeds=n, assumed=Assumed()) for n in (needed - 1, needed)]
    assert powers[0] < 0.8 <= powers[1]
    assert power.seeds_needed(RTE, 1.0, score=75, assumed=Assumed()) is None, "no number of seeds mends a small set"


def test_the_chances_of_an_examples_sum_over_seeds_are_a_distribution_with_the_models_moments():
    d, delta, lasting, seeds = 0.2, 0.05, 0.3, 4
    chances, size = power.outcome_chances(d, delta, seeds, lasting), np.arange(-4, 5)
    assert chances.sum() == pytest.approx(1)
    assert chances @ size == pytest.approx(seeds * delta)
    between = lasting * d + (1 - lasting) * delta**2  # of two seeds
    assert chances @ size**2 == pytest.approx(seeds * d + seeds * (seeds - 1) * between)


def test_the_papers_best_cases():
    assert power.examples_apart(RTE, 77.70, 74.10) == 5
    assert mcnemar(5, 0) == 0.0625
    assert power.examples_apart(SST2, 94.26, 93.92) == 3
    assert mcnemar(3, 0) == 0.25
    assert mcnemar(0, 0) == mcnemar(1, 0) == 1.0
    assert mcnemar(power.fewest_examples(), 0) <= 0.05 < mcnemar(power.fewest_examples() - 1, 0)


def test_the_realistic_case_is_mcnemar_on_the_assumed_discordant_examples():
    errors = Errors("accuracy", 1_000)
    # 100 and 120 errors, 30 % of them not shared, give 66 discordant examples: 43 for one method and 23 for the other.
    expected = stats.binomtest(23, 66, 0.5).pvalue
    assert power.realistic_p(errors, 90, 88, Assumed(unshared=0.3)) == pytest.approx(expected)
    assert power.realistic_p(errors, 90, 88, Assumed(unshared=0.001)) == mcnemar(20, 0)


@pytest.mark.parametrize(("metric", "positive"), [("f1", 0.68), ("matthews", 0.69), ("accuracy", 0.5)])
def test_an_examples_points_are_exact_where_errors_are_balanced(metric, positive):
    from krona.metrics.scores import score_answers
    from krona.metrics.scores.metric import Answers

    truth = np.zeros(1_000, dtype=int)
    truth[: int(1_000 * positive)] = 1
    given = truth.copy()
    given[:50] = 0
    given[-50:] = 1  # 100 errors, half on each side
    score = score_answers([metric], Answers(truth, given, 2))[metric]
    errors = Errors(metric, 1_000, positive)
    assert score == pytest.approx(100 - 100 * errors.points)
    assert errors.share_wrong(score) == pytest.approx(0.1)


def test_a_correlations_error_is_that_of_drawn_test_sets():
    errors, assumed, rng = Errors("correlation", 400), Assumed(unshared=0.4), np.random.default_rng(0)
    r, gaps = 0.8, []
    for _ in range(1_500):
        truth, common = rng.standard_normal((2, 400))
        a, b = (
            r * truth + math.sqrt(1 - r**2) * (math.sqrt(0.6) * common + math.sqrt(0.4) * rng.standard_normal(400))
            for _ in "ab"
        )
        gaps.append(100 * (np.corrcoef(truth, a)[0, 1] - np.corrcoef(truth, b)[0, 1]))
    assert power.correlation_error(errors, 80, 1, assumed) == pytest.approx(np.std(gaps), rel=0.08)
    assert power.correlation_error(errors, 80, 4, Assumed(0.4, 0.0)) == pytest.approx(np.std(gaps) / 2, rel=0.08)


def test_a_correlations_power_follows_from_its_error():
    errors, assumed, arguments = Errors("correlation", 400), Assumed(), {"score": 81, "assumed": Assumed()}
    error = power.correlation_error(errors, 81, 3, assumed)
    expected = stats.norm.sf(1.95996 - 2 / error)
    assert power.power(errors, 2, seeds=3, **arguments) == pytest.approx(expected, rel=1e-4)
    smallest = power.smallest_difference(errors, seeds=3, **arguments)
    assert smallest == pytest.approx((1.95996 + 0.84162) * error, rel=0.006)
    assert power.smallest_difference(Errors("correlation", 10), seeds=1, **arguments) is None
    single = power.correlation_error(errors, 81, 1, assumed)
    assert power.realistic_p(errors, 82.5, 79.5, assumed) == pytest.approx(2 * stats.norm.sf(3 / single))
