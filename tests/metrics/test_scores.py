"""Test scores against scikit-learn and SciPy. Scores with predictions that are not a label are computed by hand."""

import random
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from krona.metrics.answers import Answers
from krona.metrics.scores import score, score_by_sums

TWO = ["0", "1"]
FIVE = ["0", "1", "2", "3", "4"]


def drawn(labels: list[str], rows: int, seed: int) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    return rng.choices(labels, k=rows), rng.choices(labels, k=rows)


@pytest.mark.parametrize("labels", [TWO, FIVE], ids=["two", "five"])
@pytest.mark.parametrize("seed", range(4))
def test_valid_predictions_score_as_scikit_learn_scores_them(seed: int, labels: list[str]) -> None:
    truth, answers = drawn(labels, 97, seed)
    expected = {
        "accuracy": 100 * reference.accuracy_score(truth, answers),
        "macro_f1": 100 * reference.f1_score(truth, answers, average="macro"),
        "matthews": 100 * reference.matthews_corrcoef(truth, answers),
    }
    if labels == TWO:
        expected["f1"] = 100 * reference.f1_score(truth, answers, pos_label="1")
    assert score(list(expected), truth, answers, labels) == pytest.approx(expected)


def test_correlations_are_scipys() -> None:
    rng = random.Random(0)
    truth = [f"{rng.uniform(0, 5):.1f}" for _ in range(60)]
    answers = [f"{float(t) + rng.gauss(0, 1):.1f}" for t in truth]
    numbers = [float(t) for t in truth], [float(a) for a in answers]
    got = score(["pearson", "spearman"], truth, answers, None)
    assert got["pearson"] == pytest.approx(100 * stats.pearsonr(*numbers).statistic)
    assert got["spearman"] == pytest.approx(100 * stats.spearmanr(*numbers).statistic)


@pytest.mark.parametrize(
    ("truth", "answers", "labels", "expected"),
    [
        # "yes" for target 1 is a 0 (a miss), "" for target 0 is a 1 (a false alarm): precision = recall = 1/2.
        (["1", "1", "0", "0"], ["1", "yes", "", "0"], TWO, {"accuracy": 50, "f1": 50}),
        # An invalid prediction is no false alarm. Class 0: recall 1/2, precision 1. Classes 1 and 2 are right.
        (["0", "0", "1", "2"], ["0", "seven", "1", "2"], FIVE[:3], {"accuracy": 75, "macro_f1": 100 * (2 / 3 + 2) / 3}),
        (["1", "0"], ["0", "0"], TWO, {"f1": 0}),
        (["0", "1"], [" 0", "1\n"], TWO, {"accuracy": 100}),
        (["0", "1", "1", "0"], ["1"] * 4, TWO, {"matthews": 0}),
        (["0", "1", "1", "0"], ["what"] * 4, TWO, {"matthews": 0}),
        (["0", "1", "2", "3"], ["2.5"] * 4, None, {"pearson": 0, "spearman": 0}),
        (["0", "1", "2", "3"], ["what"] * 4, None, {"pearson": 0, "spearman": 0}),
        (["1.0", "1.0"], ["0.0", "2.0"], None, {"pearson": 0, "spearman": 0}),
        (["1.0"], ["1.0"], None, {"pearson": 0, "spearman": 0}),
        (["1.0", "2.0"], ["0.0", "2.0"], None, {"pearson": 100, "spearman": 100}),
        (["0"], ["0"], TWO, {"accuracy": 100, "f1": 0, "macro_f1": 100, "matthews": 0}),
    ],
)
def test_scores_by_hand(
    truth: list[str], answers: list[str], labels: list[str] | None, expected: dict[str, float]
) -> None:
    assert score(list(expected), truth, answers, labels) == pytest.approx(expected)


def test_no_label_is_one_class_of_its_own_for_matthews() -> None:
    truth, answers = ["0", "1", "1", "0", "1"], ["0", "1", "maybe", "", "1"]
    expected = reference.matthews_corrcoef(truth, ["0", "1", "none", "none", "1"])
    assert score(["matthews"], truth, answers, TWO)["matthews"] == pytest.approx(100 * expected)


def test_no_number_counts_as_minus_one_and_huge_numbers_give_no_warning() -> None:
    truth = ["1.0", "2.0", "3.0", "4.0", "5.0", "0.0", "0.5", "3.3"]
    answers = ["1.0", "two", "3.0", "nan", "inf", "", "1_0", "9" * 400]
    numbers = [1.0, -1.0, 3.0, -1.0, -1.0, -1.0, -1.0, -1.0]
    expected = stats.pearsonr([float(t) for t in truth], numbers).statistic
    assert score(["pearson"], truth, answers, None)["pearson"] == pytest.approx(100 * expected)
    huge = ["1" + "0" * 20, "1" + "0" * 20, "1" + "0" * 15 + "90000"]
    assert -100 <= score(["pearson"], truth[:3], huge, None)["pearson"] <= 100


@pytest.mark.parametrize(
    ("metrics", "truth", "answers", "labels", "message"),
    [
        (["accuracy"], ["0"], [], TWO, "1 targets and 0 predictions"),
        (["accuracy"], [], [], TWO, "no rows"),
        (["accuracy"], ["0", "2"], ["0", "1"], TWO, "'2' is not one of the labels 0, 1"),
        (["recall"], ["0"], ["0"], TWO, "unknown metric 'recall'"),
        (["f1"], ["0"], ["0"], FIVE, "has 5 classes. Use accuracy, macro_f1, matthews"),
        (["pearson"], ["0", "1"], ["0", "1"], TWO, "'pearson' is for numbers"),
        (["accuracy"], ["0.5"], ["0.5"], None, "is for classes"),
    ],
)
def test_what_cannot_be_scored_is_said(
    metrics: list[str], truth: list[str], answers: list[str], labels: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score(metrics, truth, answers, labels)


def test_spearman_of_many_distinct_predictions_needs_little_memory() -> None:
    rng = np.random.default_rng(0)
    answers = Answers(rng.integers(0, 50, 5000).astype(float), rng.normal(size=5000), classes=0)
    tracemalloc.start()
    (found,) = score_by_sums(["spearman"], answers).values()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == pytest.approx(100 * stats.spearmanr(answers.truth, answers.given).statistic)
    assert peak < 10 * 2**20
