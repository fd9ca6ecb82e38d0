"""Mean ranks, interquartile means, probabilities of improvement and equivalence, against libraries and by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from krona.metrics.over_tasks import equivalence, improvement_of, interquartile_mean_of, mean_ranks
from krona.metrics.scores.metric import Answers


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


def test_ranks_of_ties_and_of_incomplete_scores() -> None:
    tied = mean_ranks(np.full((3, 3), 50.0))
    assert tied.p == 1.0
    assert list(tied.mean) == [2.0, 2.0, 2.0]
    for wrong in (np.zeros((1, 3)), np.zeros((3, 2)), np.array([[1.0, np.nan, 2.0]] * 3)):
        with pytest.raises(ValueError, match="tasks"):
            mean_ranks(wrong)


@pytest.mark.parametrize("seed", range(3))
def test_rliables_interquartile_mean_and_probability_of_improvement(seed: int) -> None:
    metrics = pytest.importorskip("rliable.metrics", reason="rliable is not installed: the comparison is left out")
    rng = np.random.default_rng(seed)
    x, y = rng.normal(80, 3, (5, 8)).round(), rng.normal(79, 3, (5, 8)).round()
    assert interquartile_mean_of(list(x.T)).value == pytest.approx(metrics.aggregate_iqm(x), rel=1e-12)
    expected = metrics.probability_of_improvement(x, y)
    assert improvement_of(list(x.T), list(y.T)).value == pytest.approx(expected, rel=1e-12)


def test_interquartile_mean_and_probability_by_hand() -> None:
    runs = [np.array([1.0, 2.0]), np.array([3.0, 100.0])]
    assert interquartile_mean_of(runs).value == 2.5
    low, high = interquartile_mean_of(runs).interval
    assert low <= 2.5 <= high
    better = improvement_of([np.array([2.0, 3.0]), np.array([1.0])], [np.array([1.0, 2.0]), np.array([1.0])])
    assert better.value == pytest.approx((0.875 + 0.5) / 2)
    assert improvement_of(runs, runs).value == pytest.approx(0.5)


def answers(right: np.ndarray) -> Answers:
    truth = np.arange(len(right)) % 2
    return Answers(truth, np.where(right, truth, 1 - truth), classes=2)


@pytest.mark.parametrize(("shift", "margin", "equivalent"), [(0.0, 2.0, True), (0.0, 0.1, False), (0.03, 2.0, False)])
def test_equivalence_is_the_two_one_sided_tests(shift: float, margin: float, *, equivalent: bool) -> None:
    rng = np.random.default_rng(0)
    shared, own = rng.random((2, 4000))
    a = shared < 0.9
    b = np.where(rng.random(4000) < 0.05, own, shared) < 0.9 - shift
    p = equivalence([answers(a)], [answers(b)], ["accuracy"], margin=margin)
    difference = 100 * (a.astype(float) - b)
    error = difference.std(ddof=1) / np.sqrt(len(a))
    one_sided = [stats.norm.sf((margin - sign * difference.mean()) / error) for sign in (1, -1)]
    assert p == pytest.approx(max(one_sided), abs=0.02)
    assert (p < 0.05) == equivalent


def test_equivalence_of_identical_and_of_unpaired_runs() -> None:
    same = answers(np.arange(100) % 3 > 0)
    assert equivalence([same], [same], ["matthews", "accuracy"]) < 0.001
    with pytest.raises(ValueError, match="same test set"):
        equivalence([same], [answers(np.ones(50, dtype=bool))], ["accuracy"])
