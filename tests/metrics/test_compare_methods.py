"""The test of methods over rows and seeds: its parts against direct computations, and its false positives."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmarks import calibration
from benchmarks.calibration import make_sample
from krona.metrics.compare_methods import Sample, average, compare_pairs, row_contributions
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
    shares = row_contributions(runs, metrics)

    def score(run: Answers) -> float:
        return float(np.mean([*score_answers(metrics, run).values()]))

    for run, own in zip(runs, shares, strict=True):
        rows = [np.flatnonzero(groups != group) for group in range(n)]
        without = np.array([score(Answers(run.targets[kept], run.predictions[kept], run.classes)) for kept in rows])
        assert own.sum() == pytest.approx(score(run))
        assert n * own.var() == pytest.approx(((n - 1) / n) ** 2 * ((without - without.mean()) ** 2).sum())


def test_for_accuracy_the_variance_over_rows_is_that_of_random_swaps() -> None:
    runs = binary_runs(300, [0.8] * 2)
    shares = row_contributions(runs, ["accuracy"])
    variance = ((shares[0] - shares[1]) ** 2).sum()
    assert np.var(swap_test(*runs, ["accuracy"]).null) == pytest.approx(variance, rel=0.06)  # 4 standard errors


def only_seeds(*methods: list[float], rows: int = 10_000) -> list[Sample]:
    """Return samples with these scores in which all rows have equal shares, so that only the seeds vary."""
    return [make_sample(np.repeat(np.array(scores)[:, None] / rows, rows, axis=1)) for scores in methods]


def test_without_an_effect_of_single_rows_the_test_is_welchs() -> None:
    scores = [70.0, 72.0, 77.0], [61.0, 66.0, 62.0]
    found = compare_pairs(only_seeds(*scores))[0, 1]
    expected = stats.ttest_ind(*scores)
    variances = np.var(scores, axis=1, ddof=1) / 3
    rows = (found.value / 10_000) ** 2 * 10_000  # the variance over rows, which is small
    assert found.error**2 - rows == pytest.approx((found.value / expected.statistic) ** 2, rel=1e-3)
    welch = variances.sum() ** 2 / (variances**2 / 4).sum() - 2  # Welch (1947), equation 29
    assert found.df == pytest.approx(min(4.0, welch), rel=0.02)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(expected.statistic), min(4.0, welch)), rel=0.05)


def test_a_pair_with_a_larger_variance_than_the_pool_has_its_own_degrees_of_freedom() -> None:
    quiet, also_quiet, loud = [70.0, 71.0, 72.0], [61.0, 62.0, 60.0], [51.0, 48.0, 50.5]
    found = compare_pairs(only_seeds(quiet, also_quiet, loud))
    pooled = np.mean([1, 1, np.var(loud, ddof=1)])
    assert found[0, 1].error ** 2 == pytest.approx(2 / 3 * pooled, rel=0.02)
    assert found[0, 1].df == pytest.approx(6, rel=0.05)
    loud = [51.0, 42.0, 50.5]  # more than ten times the median, so it is not in the pool
    found = compare_pairs(only_seeds(quiet, also_quiet, loud))
    variances = np.array([1, np.var(loud, ddof=1)]) / 3
    assert found[0, 1].error ** 2 == pytest.approx(2 / 3, rel=0.02)
    assert found[0, 2].error ** 2 == pytest.approx(variances.sum(), rel=0.02)
    assert found[0, 2].df == pytest.approx(variances.sum() ** 2 / (variances**2 / 4).sum() - 2, rel=0.02)


def test_one_collapsed_run_does_not_change_what_is_said_of_other_methods() -> None:
    others = [70.0, 71.0, 72.0], [65.0, 66.5, 66.0], [68.0, 69.0, 68.2], [66.0, 66.2, 67.5]
    collapsed = [70.0, 71.0, 10.0]
    alone, together = compare_pairs(only_seeds(*others)), compare_pairs(only_seeds(*others, collapsed))
    for pair, one in alone.items():
        assert together[pair].p == pytest.approx(one.p, rel=1e-9), pair
    assert together[0, 4].p > 0.3


def test_a_method_without_variance_is_not_in_the_pool() -> None:
    others = [70.0, 71.0, 72.0], [66.5, 65.0, 66.0], [69.0, 68.0, 68.2]
    alone, together = compare_pairs(only_seeds(*others)), compare_pairs(only_seeds(*others, [50.0] * 3))
    assert together[0, 1] == alone[0, 1]
    pooled = np.mean([np.var(one, ddof=1) for one in others])
    rows = together[0, 3].value ** 2 / 10_000  # the variance over rows
    assert together[0, 3].error ** 2 - rows == pytest.approx(2 / 3 * pooled, rel=0.01)


def test_an_effect_of_the_seed_that_methods_share_does_not_enter_their_difference() -> None:
    rng = np.random.default_rng(2)
    seeds = rng.normal(0, 5, 4)
    own = rng.normal(0, 1, (5, 4))
    scores = 60 + seeds + own
    found = compare_pairs(only_seeds(*scores.tolist()))[0, 4]
    rest = scores - scores.mean(1, keepdims=True) - scores.mean(0) + scores.mean()
    interaction = (rest**2).sum() / 12  # the error of a two-way table of five methods and four seeds
    assert found.error**2 == pytest.approx(2 / 4 * interaction, rel=0.02)
    assert found.df == pytest.approx(12, rel=0.05)


def test_methods_are_compared_on_their_common_seeds_if_there_are_three() -> None:
    (long,) = only_seeds([70.0, 71.0, 72.0, 80.0, 90.0])
    (short,) = only_seeds([60.0, 62.0, 61.0])
    found = compare_pairs([long, short])[0, 1]
    assert (found.value, found.seeds, found.common) == (pytest.approx(10), 3, 3)
    shifted = Sample(short.contributions, (1, 2, 7))
    found = compare_pairs([long, shifted])[0, 1]
    assert (found.value, found.seeds, found.common) == (pytest.approx(76.6 - 61), 3, 2)


def test_one_seed_compares_runs_and_equal_answers_do_not_differ() -> None:
    runs = binary_runs(300, [0.8, 0.72])
    ones = [make_sample(row_contributions([run], ["accuracy"])) for run in runs]
    sample = make_sample(row_contributions(runs, ["accuracy"]))
    expected = swap_test(*runs, ["accuracy"])
    # The randomisation test counts an equal difference fully, and the continuous t distribution counts half of it.
    equal = np.isclose(np.abs(expected.null), abs(expected.difference)).mean()
    assert compare_pairs(ones)[0, 1].p == pytest.approx(expected.p - equal / 2, abs=0.02)
    same = compare_pairs([sample, sample])[0, 1]
    assert same.value == 0
    assert same.p == 1


def test_the_mean_over_two_equal_tasks_has_half_the_variance() -> None:
    samples = [make_sample(row_contributions(binary_runs(200, [0.7, 0.8, 0.85]), ["accuracy"])) for _ in range(2)]
    one = compare_pairs(samples)[0, 1]
    two = average([one, one])
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
        column = [make_sample(row_contributions(one, calibration.KINDS[kind][0])) for one in runs]
        found.append([calibration.marked([column]), compare_pairs(column[:2])[0, 1].p <= 0.05])
    several, pair = np.mean(found, axis=0)
    assert several <= 0.06
    assert pair <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)
