"""The test of methods over rows and seeds: its parts against direct computations, and its false positives."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmarks import calibration
from krona.metrics.compare_methods import average, compare_pairs, measure, row_shares
from krona.metrics.scores import score_answers
from krona.metrics.scores.metric import Answers
from krona.metrics.statistics import swap_test

RNG = np.random.default_rng(5)


def binary_runs(rows: int, right: list[float]) -> list[Answers]:
    truth = np.arange(rows) % 2
    return [Answers(truth, np.where(RNG.random(rows) < share, truth, 1 - truth), 2) for share in right]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("metrics", [["accuracy"], ["matthews", "f1"], ["pearson", "spearman"]])
def test_shares_are_the_jackknife_and_sum_to_the_score(metrics: list[str], *, grouped: bool) -> None:
    if metrics[0] == "pearson":
        truth = RNG.normal(size=40)
        runs = [Answers(truth, np.round(truth + RNG.normal(size=40), 1), 0) for _ in range(2)]
    else:
        runs = binary_runs(40, [0.8, 0.7])
    groups = np.arange(40) // 2 if grouped else np.arange(40)
    runs = [replace(run, groups=groups if grouped else None) for run in runs]
    n = groups.max() + 1
    shares = row_shares(runs, metrics)

    def score(run: Answers) -> float:
        return float(np.mean([*score_answers(metrics, run).values()]))

    for run, own in zip(runs, shares, strict=True):
        rows = [np.flatnonzero(groups != group) for group in range(n)]
        without = np.array([score(Answers(run.truth[kept], run.given[kept], run.classes)) for kept in rows])
        assert own.sum() == pytest.approx(score(run))
        assert n * own.var() == pytest.approx(((n - 1) / n) ** 2 * ((without - without.mean()) ** 2).sum())


def test_for_accuracy_the_variance_over_rows_is_that_of_random_swaps() -> None:
    runs = binary_runs(300, [0.8] * 2)
    shares = row_shares(runs, ["accuracy"])
    variance = ((shares[0] - shares[1]) ** 2).sum()
    assert np.var(swap_test(*runs, ["accuracy"]).null) == pytest.approx(variance, rel=0.06)  # 4 standard errors


def test_without_an_effect_of_single_rows_the_test_is_welchs_with_pooled_degrees_of_freedom() -> None:
    """All rows have equal shares, so that only the seeds vary."""
    scores = np.array([[70.0, 72.0, 77.0], [61.0, 66.0, 62.0]])
    found = compare_pairs([measure(np.repeat(one[:, None] / 10_000, 10_000, axis=1)) for one in scores])[0, 1]
    expected = stats.ttest_ind(*scores)
    rows = (found.value / 10_000) ** 2 * 10_000  # the variance over rows, which is small
    assert found.error**2 - rows == pytest.approx((found.value / expected.statistic) ** 2, rel=1e-3)
    assert found.df == pytest.approx(4, rel=0.02)
    assert found.p == pytest.approx(expected.pvalue, rel=0.05)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()), abs=0.1)


def test_a_quiet_pair_gets_the_mean_spread_of_the_column_and_a_loud_pair_its_own() -> None:
    def sample(scores: list[float]) -> object:
        return measure(np.repeat(np.array(scores)[:, None] / 10_000, 10_000, axis=1))

    quiet, also_quiet, loud = sample([70, 70, 70]), sample([60, 60, 60]), sample([50, 80, 65])
    alone = compare_pairs([quiet, also_quiet])[0, 1]
    together = compare_pairs([quiet, also_quiet, loud])
    assert alone.error < 0.2
    assert together[0, 1].error == pytest.approx(np.sqrt(2 / 3 * 225 / 3), rel=0.01)
    assert together[0, 2].error == pytest.approx(np.sqrt(225 / 3), rel=0.01)


def test_one_seed_compares_runs_and_equal_answers_do_not_differ() -> None:
    runs = binary_runs(300, [0.8, 0.72])
    ones = [measure(row_shares([run], ["accuracy"])) for run in runs]
    sample = measure(row_shares(runs, ["accuracy"]))
    expected = swap_test(*runs, ["accuracy"])
    assert compare_pairs(ones)[0, 1].p == pytest.approx(expected.p, abs=0.02)
    same = compare_pairs([sample, sample])[0, 1]
    assert same.value == 0
    assert same.p == 1


def test_the_mean_over_two_equal_tasks_has_half_the_variance() -> None:
    samples = [measure(row_shares(binary_runs(200, [0.7, 0.8, 0.85]), ["accuracy"])) for _ in range(2)]
    one = compare_pairs(samples)[0, 1]
    two = compare_pairs([average([sample, sample]) for sample in samples])[0, 1]
    assert two.value == pytest.approx(one.value)
    assert two.error**2 == pytest.approx(one.error**2 / 2)
    assert two.df == pytest.approx(2 * one.df)


@pytest.mark.parametrize(("kind", "seed_sd"), [("accuracy", 0.0), ("accuracy", 2.0), ("Matthews", 1.0)])
def test_equal_methods_are_rarely_called_different(kind: str, seed_sd: float) -> None:
    """400 columns of five methods with three seeds. The limits are 0.06 and four standard errors of 0.05."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        runs = [of_method[:3] for of_method in calibration.simulate(rng, kind, rows=138, seed_sd=seed_sd)[:5]]
        column = [measure(row_shares(one, calibration.KINDS[kind][0])) for one in runs]
        found.append([calibration.marked([column]), compare_pairs(column[:2])[0, 1].p <= 0.05])
    several, pair = np.mean(found, axis=0)
    assert several <= 0.06
    assert pair <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)
