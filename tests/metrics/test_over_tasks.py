"""Mean ranks, interquartile means and probabilities of improvement, against libraries and by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from krona.metrics.over_tasks import interquartile_mean, mean_ranks, probability_of_improvement


def simulated(seed: int, tasks: int = 8, methods: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 80 + rng.normal(0, 5, (tasks, 1)) + np.arange(methods) * 0.8 + rng.normal(0, 1, (tasks, methods))


@pytest.mark.parametrize("seed", range(5))
def test_mean_ranks(seed: int) -> None:
    scores = simulated(seed)
    ranks = mean_ranks(scores)
    by_hand = np.mean([[1 + sum(other > own for other in row) for own in row] for row in scores], axis=0)
    np.testing.assert_allclose(ranks.mean, by_hand)
    # Demsar 2006, Table 5(a): q = 2.569 for four methods at the 5 % level
    assert ranks.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 8)), abs=1e-3)


@pytest.mark.parametrize(
    ("scores", "published"),
    [
        ([[1, 2, 3]] * 3, 0.028),  # Friedman's statistic is 6.0
        ([[1, 2, 3]] * 4, 0.0046),  # 8.0
        ([[1, 2, 3]] * 3 + [[2, 1, 3]], 0.042),  # 6.5
        ([[1, 2, 3], [1, 1, 3], [2, 1, 3], [2, 2, 2]], None),
    ],
)
def test_friedmans_p_is_that_of_all_permutations(scores: list[list[float]], published: float | None) -> None:
    ranks = stats.rankdata(scores, axis=1)
    arranged = itertools.product(*[itertools.permutations(row) for row in ranks])
    null = np.array([(np.sum(rows, axis=0) ** 2).sum() for rows in arranged])
    exact = (null >= (ranks.sum(0) ** 2).sum()).mean()
    assert published is None or exact == pytest.approx(published, abs=6e-4)
    assert mean_ranks(np.array(scores, float)).p == pytest.approx(exact, abs=4 * np.sqrt(exact / 10_000))


def test_ranks_of_ties() -> None:
    tied = mean_ranks(np.full((3, 3), 50.0))
    assert tied.p == 1.0
    assert list(tied.mean) == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("seed", range(3))
def test_rliables_interquartile_mean_and_probability_of_improvement(seed: int) -> None:
    metrics = pytest.importorskip("rliable.metrics", reason="rliable is not installed: the comparison is left out")
    rng = np.random.default_rng(seed)
    x, y = rng.normal(80, 3, (5, 8)).round(), rng.normal(79, 3, (5, 8)).round()
    assert interquartile_mean(list(x.T)) == pytest.approx(metrics.aggregate_iqm(x), rel=1e-12)
    expected = metrics.probability_of_improvement(x, y)
    assert probability_of_improvement(list(x.T), list(y.T)) == pytest.approx(expected, rel=1e-12)


def test_interquartile_mean_and_probability_by_hand() -> None:
    runs = [np.array([1.0, 2.0]), np.array([3.0, 100.0])]
    assert interquartile_mean(runs) == 2.5
    better = probability_of_improvement(
        [np.array([2.0, 3.0]), np.array([1.0])], [np.array([1.0, 2.0]), np.array([1.0])]
    )
    assert better == pytest.approx((0.875 + 0.5) / 2)
    assert probability_of_improvement(runs, runs) == pytest.approx(0.5)
