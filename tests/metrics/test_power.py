"""Test the power computation against closed forms, SciPy's binomials and Connor's formula."""

import math
from dataclasses import replace

import numpy as np
import pytest
from paper_differences import estimate_p
from scipy import stats

from benchmarks.calibration import ROW_SD, Scene, make_samples, simulate
from krona.metrics import power
from krona.metrics.compare_methods import compare
from krona.metrics.power import Assumed, Errors

RTE, SST2 = Errors("accuracy", 139), Errors("accuracy", 872)


@pytest.mark.parametrize(("seeds", "seed_sd"), [(2, 1.0), (3, 0.5), (5, 2.0)])
def test_several_seeds_have_the_power_of_simulated_tests(seeds, seed_sd):
    """The simulation's shares are measured on a large test set. 400 simulations have a standard error of 0.025."""
    rng = np.random.default_rng(1)
    scene = Scene(3.0, seeds=(seeds, seeds), accuracy=0.85, rows=872)
    wide = simulate(rng, replace(scene, seed_sds=(0.0, 0.0), rows=40_000), row_sd=ROW_SD)
    a, b = (np.array([run.hits for run in runs], float) for runs in wide)
    gaps = a - b
    assumed = Assumed(np.mean(gaps**2) / 0.3, np.mean(gaps[0] * gaps[1]) / np.mean(gaps[0] ** 2), seed_sd)
    scene, found = replace(scene, seed_sds=(seed_sd, seed_sd)), []
    for _ in range(400):
        pair = simulate(rng, scene, gain=scene.gain, row_sd=ROW_SD)
        found.append(compare(*make_samples(pair, "accuracy")).p <= 0.05)
    expected = power.power(SST2, scene.gain, score=85, seeds=seeds, assumed=assumed)
    assert np.mean(found) == pytest.approx(expected, abs=0.12)


def test_the_smallest_difference_has_the_power_and_large_sets_have_connors():
    large, assumed = Errors("accuracy", 20_000), Assumed(unshared=0.3)
    found = power.smallest_difference(large, score=90, seeds=1, assumed=assumed) / 100
    d = 0.3 * 2 * 0.1
    needed = (1.95996 * math.sqrt(d) + 0.84162 * math.sqrt(d - found**2)) ** 2 / found**2  # Connor (1987), Eq. 3
    assert needed == pytest.approx(20_000, rel=0.04)


def test_seeds_divide_all_but_what_lasts():
    def least(seeds, lasting):
        return power.smallest_difference(SST2, score=90, seeds=seeds, assumed=Assumed(0.3, lasting, 0.0))

    assert least(9, 0.0) == pytest.approx(least(1, 0.0) / 3, rel=0.15)
    assert least(9, 1.0) == pytest.approx(least(1, 1.0), rel=0.1)


def test_seeds_needed_is_the_first_number_with_the_power():
    needed = power.seeds_needed(SST2, 1.5, score=90, assumed=Assumed())
    powers = [power.power(SST2, 1.5, score=90, seeds=n, assumed=Assumed()) for n in (needed - 1, needed)]
    assert powers[0] < 0.8 <= powers[1]
    assert power.seeds_needed(RTE, 1.0, score=75, assumed=Assumed()) is None, "no number of seeds mends a small set"


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
    assert power.correlation_error(errors, 80, assumed) == pytest.approx(np.std(gaps), rel=0.08)


def test_a_correlations_power_follows_from_its_error():
    errors, assumed, arguments = Errors("correlation", 400), Assumed(seed_sd=0.0), {"score": 81}
    error = power.correlation_error(errors, 81, assumed)
    expected = stats.norm.sf(1.95996 - 2 / error)
    assert power.power(errors, 2, seeds=1, assumed=assumed, **arguments) == pytest.approx(expected, rel=1e-4)
    smallest = power.smallest_difference(errors, seeds=1, assumed=assumed, **arguments)
    assert smallest == pytest.approx((1.95996 + 0.84162) * error, rel=0.006)
    lasting = Assumed(lasting=1.0, seed_sd=0.0)  # more seeds change nothing
    assert power.smallest_difference(errors, seeds=20, assumed=lasting, **arguments) == pytest.approx(
        smallest, rel=0.01
    )
    assert power.smallest_difference(Errors("correlation", 10), seeds=1, assumed=assumed, **arguments) is None
    assert estimate_p(errors, 82.5, 79.5, assumed) == pytest.approx(2 * stats.norm.sf(3 / error))
