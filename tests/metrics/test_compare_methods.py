"""The test of methods over rows and seeds: its parts against direct computations, and its false positives."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmarks import calibration
from krona.metrics.compare_methods import Sample, average, compare, row_contributions
from krona.metrics.scores import score_answers
from krona.metrics.scores.metric import Answers

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
    shares = row_contributions(runs, metrics)

    def score(run: Answers) -> float:
        return float(np.mean([*score_answers(metrics, run).values()]))

    for run, own in zip(runs, shares, strict=True):
        rows = [np.flatnonzero(groups != group) for group in range(n)]
        without = np.array([score(Answers(run.targets[kept], run.predictions[kept], run.classes)) for kept in rows])
        assert own.sum() == pytest.approx(score(run))
        assert n * own.var() == pytest.approx(((n - 1) / n) ** 2 * ((without - without.mean()) ** 2).sum())


def swapped(one: Answers, other: Answers) -> np.ndarray:
    """Return the difference of accuracies after random swaps of the two predictions of each row, (10_000,)."""
    signs = RNG.choice([-1, 1], (10_000, len(one)))
    return 100 * signs @ (one.hits.astype(float) - other.hits) / len(one)


def test_for_accuracy_the_variance_over_rows_is_that_of_random_swaps() -> None:
    runs = binary_runs(300, [0.8] * 2)
    shares = row_contributions(runs, ["accuracy"])
    variance = ((shares[0] - shares[1]) ** 2).sum()
    assert np.var(swapped(*runs)) == pytest.approx(variance, rel=0.06)  # 4 standard errors


def only_seeds(scores: list[float], rows: int = 10_000) -> Sample:
    """Return a sample with these scores in which all rows have equal shares, so that only the seeds vary."""
    return Sample(np.repeat(np.array(scores)[:, None] / rows, rows, axis=1))


@pytest.mark.parametrize("others", [[61.0, 66.0, 62.0], [60.0, 60.5, 59.5, 60.2, 61.0, 57.0], [65.0, 64.9]])
def test_without_an_effect_of_single_rows_the_test_is_welchs_with_all_seeds(others: list[float]) -> None:
    scores = [70.0, 72.0, 77.0]
    found = compare(only_seeds(scores), only_seeds(others))
    expected = stats.ttest_ind(scores, others, equal_var=False)
    assert found.seeds == (3, len(others))
    assert found.value == pytest.approx(np.mean(scores) - np.mean(others))
    # The variance over rows is not 0, but small.
    assert found.p == pytest.approx(expected.pvalue, rel=0.05)
    assert found.interval == pytest.approx([*expected.confidence_interval()], rel=0.02)


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("spreads", [(0.0, 0.0), (0.0, 0.01), (0.0, 5.0), (0.1, 0.1), (0.01, 20.0), (5.0, 5.0)])
def test_the_interval_of_few_seeds_is_at_most_that_of_one_degree_of_freedom(
    seeds: int, spreads: tuple[float, float]
) -> None:
    offsets = np.linspace(-1, 1, seeds)[:, None]
    samples = []
    for right, spread in zip((0.8, 0.78), spreads, strict=True):
        shares = row_contributions(binary_runs(300, [right] * seeds), ["accuracy"])
        scores = shares.sum(1, keepdims=True)
        samples.append(Sample(shares + (scores.mean() - scores + spread * offsets) / 300))
    found = compare(*samples)
    assert samples[0].variance == pytest.approx(spreads[0] ** 2 * offsets.var(ddof=1) / seeds, abs=1e-9)
    assert found.df >= 1
    rows, over_seeds = ((samples[0].mean - samples[1].mean) ** 2).sum(), sum(one.variance for one in samples)
    assert found.error**2 >= rows / 2 - 1e-9, "equal scores of few seeds are not certain"
    assert max(np.abs(found.interval)) <= abs(found.value) + 12.71 * np.sqrt(rows + over_seeds)


def test_one_seed_compares_runs_and_equal_answers_do_not_differ() -> None:
    runs = binary_runs(300, [0.8, 0.72])
    ones = [Sample(row_contributions([run], ["accuracy"])) for run in runs]
    sample = Sample(row_contributions(runs, ["accuracy"]))
    null, difference = np.abs(swapped(*runs)), abs(compare(*ones).value)
    # The randomisation test counts an equal difference fully, and the continuous t distribution counts half of it.
    expected = (null >= difference - 1e-9).mean() - np.isclose(null, difference).mean() / 2
    assert compare(*ones).p == pytest.approx(expected, abs=0.02)
    same = compare(sample, sample)
    assert same.value == 0
    assert same.p == 1


def test_the_mean_over_two_equal_tasks_has_half_the_variance() -> None:
    samples = [Sample(row_contributions(binary_runs(200, [0.7, 0.8, 0.85]), ["accuracy"])) for _ in range(2)]
    one = compare(*samples)
    two = average([one, one])
    assert two.value == pytest.approx(one.value)
    assert two.error**2 == pytest.approx(one.error**2 / 2)
    assert two.df == pytest.approx(2 * one.df)


def test_a_noisy_pair_and_new_rows_keep_the_level_and_the_power_of_welchs_test() -> None:
    """600 pairs of each column. The limits are 6 %, 0.95 and three standard errors."""
    found = calibration.measure(calibration.SCENES["noisy reference, 5 seeds"], 600)
    assert max(found["level"], found["new rows"]) <= 6 + 3 * np.sqrt(6 * 94 / 600)
    assert found["power"] >= 0.95 * found["power, Welch"] - 3
