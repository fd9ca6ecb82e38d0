"""Test scores against scikit-learn and SciPy. Scores with predictions that are not a label are computed by hand."""

import random

import pytest
from scipy import stats
from sklearn import metrics as reference

from krona.metrics.scores import score

TWO = ["0", "1"]
FIVE = ["0", "1", "2", "3", "4"]


def drawn(labels: list[str], rows: int, seed: int) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    return rng.choices(labels, k=rows), rng.choices(labels, k=rows)


@pytest.mark.parametrize("seed", range(5))
def test_valid_two_class_predictions_score_as_scikit_learn_scores_them(seed: int) -> None:
    truth, answers = drawn(TWO, 97, seed)
    got = score(["accuracy", "f1", "macro_f1", "matthews"], truth, answers, TWO)
    assert got == pytest.approx(
        {
            "accuracy": 100 * reference.accuracy_score(truth, answers),
            "f1": 100 * reference.f1_score(truth, answers, pos_label="1"),
            "macro_f1": 100 * reference.f1_score(truth, answers, average="macro"),
            "matthews": 100 * reference.matthews_corrcoef(truth, answers),
        }
    )


@pytest.mark.parametrize("seed", range(3))
def test_five_classes_score_as_scikit_learn_scores_them(seed: int) -> None:
    truth, answers = drawn(FIVE, 120, seed)
    got = score(["accuracy", "macro_f1", "matthews"], truth, answers, FIVE)
    assert got["macro_f1"] == pytest.approx(100 * reference.f1_score(truth, answers, average="macro"))
    assert got["matthews"] == pytest.approx(100 * reference.matthews_corrcoef(truth, answers))
    assert got["accuracy"] == pytest.approx(100 * reference.accuracy_score(truth, answers))


def test_correlations_are_scipys() -> None:
    rng = random.Random(0)
    truth = [f"{rng.uniform(0, 5):.1f}" for _ in range(60)]
    answers = [f"{float(t) + rng.gauss(0, 1):.1f}" for t in truth]
    numbers = [float(t) for t in truth], [float(a) for a in answers]
    got = score(["pearson", "spearman"], truth, answers, None)
    assert got["pearson"] == pytest.approx(100 * stats.pearsonr(*numbers).statistic)
    assert got["spearman"] == pytest.approx(100 * stats.spearmanr(*numbers).statistic)


def test_no_label_counts_as_the_other_label_for_accuracy_and_f1() -> None:
    # By hand: "yes" for target 1 is a 0 (a miss), "" for target 0 is a 1 (a false alarm).
    # 1/1, 1/"yes", 0/"", 0/0: one true positive, one miss, one false alarm: precision = recall = 1/2.
    got = score(["accuracy", "f1"], ["1", "1", "0", "0"], ["1", "yes", "", "0"], TWO)
    assert got == {"accuracy": 50.0, "f1": 50.0}


def test_no_label_of_more_than_two_classes_is_wrong_and_is_no_false_alarm() -> None:
    # Class 0: recall 1/2, precision 1; classes 1 and 2 right: (2/3 + 1 + 1) / 3.
    got = score(["accuracy", "macro_f1"], ["0", "0", "1", "2"], ["0", "seven", "1", "2"], ["0", "1", "2"])
    assert got == pytest.approx({"accuracy": 75.0, "macro_f1": 100 * (2 / 3 + 2) / 3})


def test_no_label_is_one_class_of_its_own_for_matthews() -> None:
    truth, answers = ["0", "1", "1", "0", "1"], ["0", "1", "maybe", "", "1"]
    expected = reference.matthews_corrcoef(truth, ["0", "1", "none", "none", "1"])
    assert score(["matthews"], truth, answers, TWO)["matthews"] == pytest.approx(100 * expected)


def test_no_number_counts_as_minus_one() -> None:
    truth = ["1.0", "2.0", "3.0", "4.0", "5.0", "0.0", "0.5", "3.3"]
    answers = ["1.0", "two", "3.0", "nan", "inf", "", "1_0", "9" * 400]
    numbers = [1.0, -1.0, 3.0, -1.0, -1.0, -1.0, -1.0, -1.0]
    expected = stats.pearsonr([float(t) for t in truth], numbers).statistic
    assert score(["pearson"], truth, answers, None)["pearson"] == pytest.approx(100 * expected)


@pytest.mark.parametrize("answers", [["1"] * 4, ["what"] * 4])
def test_constant_predictions_have_no_matthews_correlation(answers: list[str]) -> None:
    assert score(["matthews"], ["0", "1", "1", "0"], answers, TWO) == {"matthews": 0.0}


@pytest.mark.parametrize("answers", [["2.5"] * 4, ["what"] * 4])
def test_constant_predictions_have_no_correlation(answers: list[str]) -> None:
    got = score(["pearson", "spearman"], ["0.0", "1.0", "2.0", "3.0"], answers, None)
    assert got == {"pearson": 0.0, "spearman": 0.0}


def test_constant_targets_and_single_rows_score_without_a_warning() -> None:
    assert score(["pearson", "spearman"], ["1.0", "1.0"], ["0.0", "2.0"], None) == {"pearson": 0, "spearman": 0}
    assert score(["pearson", "spearman"], ["1.0"], ["1.0"], None) == {"pearson": 0, "spearman": 0}
    one = score(["accuracy", "f1", "macro_f1", "matthews"], ["0"], ["0"], TWO)
    assert one == {"accuracy": 100, "f1": 0, "macro_f1": 100, "matthews": 0}
    huge = ["1" + "0" * 20, "1" + "0" * 20, "1" + "0" * 15 + "90000"]
    near = score(["pearson"], ["1.0", "2.0", "3.0"], huge, None)
    assert -100 <= near["pearson"] <= 100
    two = score(["pearson", "spearman"], ["1.0", "2.0"], ["0.0", "2.0"], None)
    assert two == pytest.approx({"pearson": 100, "spearman": 100})


def test_only_negative_answers_give_an_f1_of_zero() -> None:
    assert score(["f1"], ["1", "0"], ["0", "0"], TWO) == {"f1": 0.0}


def test_white_space_around_an_answer_is_no_mistake() -> None:
    assert score(["accuracy"], ["0", "1"], [" 0", "1\n"], TWO) == {"accuracy": 100.0}


@pytest.mark.parametrize(
    ("metrics", "truth", "answers", "labels", "message"),
    [
        (["accuracy"], ["0"], [], TWO, "1 targets and 0 predictions"),
        (["accuracy"], [], [], TWO, "no rows"),
        (["recall"], ["0"], ["0"], TWO, "unknown metric 'recall'"),
        (["f1"], ["0"], ["0"], FIVE, "has 5 classes. Use accuracy, macro_f1, matthews"),
        (["accuracy"], ["0.5"], ["0.5"], None, "is for classes"),
    ],
)
def test_what_cannot_be_scored_is_said(
    metrics: list[str], truth: list[str], answers: list[str], labels: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score(metrics, truth, answers, labels)
