"""Test confidence intervals and significance tests against closed forms, brute force and SciPy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from krona.metrics import scores
from krona.metrics.scores.metric import encode
from krona.metrics.statistics import bootstrap, holm, mcnemar, p_value, percentile_interval, swap_test, t_interval


def test_t_interval_is_scipys_and_needs_two_seeds():
    values = [71.2, 69.8, 74.0]
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert t_interval(values) == pytest.approx(expected)
    assert t_interval([70.0]) is None
    assert t_interval([70.0, 70.0]) == (70.0, 70.0)


def test_mcnemar_is_the_exact_binomial_test():
    for b, c in [(0, 0), (1, 0), (3, 9), (5, 5), (40, 61)]:
        expected = stats.binomtest(min(b, c), b + c, 0.5).pvalue if b + c else 1.0
        assert mcnemar(b, c) == pytest.approx(expected)
        assert mcnemar(c, b) == mcnemar(b, c)


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def answers(targets, predictions, labels=("0", "1")):
    return encode(list(targets), list(predictions), labels and list(labels))


def test_bootstrap_of_accuracy_is_the_binomial():
    run = answers("0101010101" * 10, "0101010001" * 10)
    draws = bootstrap([run], ["accuracy"], draws=20_000)
    low, high = stats.binom.ppf([0.025, 0.975], 100, 0.9)
    assert draws.mean() == pytest.approx(90, abs=0.1)
    assert draws.std() == pytest.approx(100 * np.sqrt(0.9 * 0.1 / 100), rel=0.03)
    assert percentile_interval(draws) == pytest.approx((low, high), abs=1.01)
    assert np.array_equal(draws, bootstrap([run], ["accuracy"], draws=20_000)), "seeded"


@pytest.mark.parametrize("metrics", [["f1"], ["matthews"], ["pearson", "spearman"], ["f1", "accuracy"]])
def test_bootstrap_is_the_plain_one(metrics):
    rng = np.random.default_rng(3)
    labels = None if "pearson" in metrics else ["0", "1"]
    pool = [str(i) for i in range(6)] if labels is None else labels
    targets = [str(x) for x in rng.choice(pool, 60)]
    seeds = [[t if rng.random() < 0.7 else str(rng.choice(pool)) for t in targets] for _ in range(2)]
    draws = bootstrap([answers(targets, p, labels) for p in seeds], metrics, draws=4_000)
    plain = []
    for _ in range(150):
        rows = rng.integers(0, 60, 60)
        each = [scores.score(metrics, [targets[i] for i in rows], [p[i] for i in rows], labels) for p in seeds]
        plain.append(np.mean([list(one.values()) for one in each]))
    assert draws.mean() == pytest.approx(np.mean(plain), abs=4 * np.std(plain) / np.sqrt(150))
    assert draws.std() == pytest.approx(np.std(plain), rel=0.2)


def brute_force(targets, a, b, metrics, labels, groups=None):
    """Return the difference of two runs, and that of each of the 2^n swaps of rows or groups."""
    units = groups or range(len(targets))

    def gap(swapped):
        x = [q if swapped[unit] else p for unit, p, q in zip(units, a, b, strict=True)]
        y = [p if swapped[unit] else q for unit, p, q in zip(units, a, b, strict=True)]
        left, right = (scores.score(metrics, targets, z, labels, groups) for z in (x, y))
        return np.mean([left[m] - right[m] for m in metrics])

    n = max(units) + 1
    return gap([0] * n), np.array([gap(s) for s in itertools.product((0, 1), repeat=n)])


@pytest.mark.parametrize(
    ("metrics", "labels"),
    [
        (["accuracy"], ["0", "1"]),
        (["f1"], ["0", "1"]),
        (["matthews"], ["0", "1"]),
        (["macro_f1"], ["0", "1", "2"]),
        (["pearson", "spearman"], None),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_swap_test_against_all_swaps(metrics, labels, seed):
    rng = np.random.default_rng(len(metrics) + seed)
    pool = labels or ["0.0", "1.0", "2.5", "4.0"]
    n = 6
    targets = [str(x) for x in rng.choice(pool, n)]
    a = [t if rng.random() < 0.8 else str(rng.choice([*pool, "x"])) for t in targets]
    b = [str(x) for x in rng.choice(pool, n)]
    observed, null = brute_force(targets, a, b, metrics, labels)
    test = swap_test(*(answers(targets, side, labels) for side in (a, b)), metrics)
    assert test.difference == pytest.approx(observed)
    assert test.p == pytest.approx((np.abs(null) >= abs(observed) - 1e-9).mean(), abs=0.02)
    assert test.null.std() == pytest.approx(null.std(), rel=0.05)


@pytest.mark.parametrize(("offset", "spread"), [(0, 0.01), (1000, 0.001)])
def test_correlations_of_nearly_equal_predictions_against_all_swaps(offset, spread):
    """Rounding errors break no ties with the observed difference, also far from the targets."""
    rng = np.random.default_rng(0)
    targets, *given = (
        [f"{x:.6f}" for x in row] for row in [rng.normal(size=6), *offset + spread * rng.normal(size=(2, 6))]
    )
    observed, null = brute_force(targets, *given, ["pearson"], None)
    test = swap_test(*(answers(targets, side, None) for side in given), ["pearson"])
    assert test.difference == pytest.approx(observed)
    assert test.p == pytest.approx((np.abs(null) >= abs(observed) - 1e-6).mean(), abs=0.02)


def test_a_huge_prediction_does_not_overflow():
    rng = np.random.default_rng(0)
    targets, *given = ([f"{value:.3f}" for value in rng.uniform(0, 5, 200)] for _ in range(3))
    found = []
    for digits in (12, 25):  # a correlation depends only on the outlier, so its size does not matter
        a, b = (answers(targets, [*one[:-1], last], None) for one, last in zip(given, ("9" * digits, "1"), strict=True))
        found.append(swap_test(a, b, ["pearson"], swaps=500))
    assert np.allclose(found[0].null, found[1].null, atol=1e-3)
    assert found[0].p == found[1].p > 0.1


def test_same_predictions_are_never_told_apart_and_p_is_never_zero():
    run = answers("0110" * 5, "0100" * 5)
    assert swap_test(run, run, ["f1"], swaps=100).p == 1.0
    assert p_value(5.0, np.zeros(99)) == 0.01


def test_for_accuracy_the_randomisation_test_is_mcnemars():
    """Arrangements with exactly the observed difference count, so rounding must not exclude them."""
    right, wrong = "1" * 15 + "0" * 7, "0" * 15 + "1" * 7
    test = swap_test(*(answers("1" * 60, side + "1" * 38) for side in (right, wrong)), ["accuracy"], swaps=40_000)
    exact = mcnemar(15, 7)
    assert test.difference == pytest.approx(100 * 8 / 60)
    assert test.p == pytest.approx(exact, abs=4 * np.sqrt(exact / 40_000))


def test_a_large_prediction_does_not_hide_the_others():
    """The correlation and the spread after swaps equal those in double precision."""
    rng = np.random.default_rng(0)
    targets, first, second = (rng.uniform(0, 5, 300) for _ in range(3))
    first[-1] = 1e6
    a, b = (answers(*([f"{x:.3f}" for x in one] for one in (targets, side)), None) for side in (first, second))
    null = swap_test(a, b, ["pearson"], swaps=2_000).null
    swapped = [np.where(rng.random(300) < 0.5, (first, second), (second, first)) for _ in range(2_000)]
    expected = [100 * (np.corrcoef(targets, x)[0, 1] - np.corrcoef(targets, y)[0, 1]) for x, y in swapped]
    assert null.std() == pytest.approx(np.std(expected), rel=0.1)
