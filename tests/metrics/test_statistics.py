"""Test confidence intervals and significance tests against closed forms, brute force and SciPy."""

import numpy as np
import pytest
from scipy import stats

from krona.metrics import scores
from krona.metrics.scores.metric import encode
from krona.metrics.statistics import bootstrap, holm, percentile_interval, t_interval


def test_t_interval_is_scipys_and_needs_two_seeds():
    values = [71.2, 69.8, 74.0]
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert t_interval(values) == pytest.approx(expected)
    assert t_interval([70.0]) is None
    assert t_interval([70.0, 70.0]) == (70.0, 70.0)


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
