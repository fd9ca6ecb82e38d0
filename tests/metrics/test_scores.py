"""Test scores against scikit-learn and SciPy, also for predictions that are not a label. Other scores are by hand."""

import random
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from krona.metrics.scores import METRICS, score, score_answers
from krona.metrics.scores.metric import Answers, encode
from metrics.test_probabilities import check_redrawn_scores

TWO = ["0", "1"]
FIVE = ["0", "1", "2", "3", "4"]
STRANGE = ["", "maybe", " 1 ", "0", "nan", "-1", "2.5.1"]
FITTING = [
    (name, kind)
    for name, metric in METRICS.items()
    if not metric.of_probabilities
    for kind in ((0,) if metric.of_numbers else (2, 3))
    if metric.classes in (None, kind) and not metric.multilabel
]


def library_score(name: str, answers: Answers) -> float:
    """Return a score of encoded predictions from scikit-learn or SciPy. A new metric needs a line here."""
    truth, given, wrong = answers.targets, answers.predictions, answers.predictions_with_invalid_flipped
    constant = min(len(np.unique(truth)), len(np.unique(given))) == 1
    seen = [i for i in range(answers.classes) if i in truth or i in wrong]
    compute = {
        "accuracy": lambda: reference.accuracy_score(truth, given),
        "exact_match": lambda: reference.accuracy_score(truth, given),  # without groups
        "f1": lambda: reference.f1_score(truth, wrong, labels=[0, 1], pos_label=1, zero_division=0.0),
        "macro_f1": lambda: reference.f1_score(truth, wrong, labels=seen, average="macro", zero_division=0.0),
        "matthews": lambda: 0.0 if constant else reference.matthews_corrcoef(truth, given),
        "pearson": lambda: 0.0 if constant else stats.pearsonr(truth, given).statistic,
        "spearman": lambda: 0.0 if constant else stats.spearmanr(truth, given).statistic,
    }
    return 100.0 * float(compute[name]())


def strings(kind: int, n: int, seed: int) -> tuple[list[str], list[str], list[str] | None]:
    rng = random.Random(seed)
    pool = {2: TWO, 3: FIVE[:3], 0: [f"{i / 10:.1f}" for i in range(51)]}[kind]
    targets = [rng.choice(pool) for _ in range(n)]
    predictions = [t if rng.random() < 0.6 else rng.choice(pool + STRANGE) for t in targets]
    return targets, predictions, (pool if kind else None)


@pytest.mark.parametrize("constant", [None, *TWO, "rubbish"])
@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_scores_are_the_librarys(name: str, kind: int, constant: str | None) -> None:
    for seed in range(4):
        targets, predictions, labels = strings(kind, 90, seed)
        predictions = predictions if constant is None else [constant] * 90
        expected = library_score(name, encode(targets, predictions, labels))
        assert score([name], targets, predictions, labels)[name] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("truth", "answers", "labels", "expected"),
    [
        # "yes" for target 1 is a 0 (a miss), "" for target 0 is a 1 (a false alarm): precision = recall = 1/2.
        (["1", "1", "0", "0"], ["1", "yes", "", "0"], TWO, {"accuracy": 50, "f1": 50}),
        # An invalid prediction is no false alarm. Class 0: recall 1/2, precision 1. Classes 1 and 2 are right.
        (["0", "0", "1", "2"], ["0", "seven", "1", "2"], FIVE[:3], {"accuracy": 75, "macro_f1": 100 * (2 / 3 + 2) / 3}),
        (["0", "1"], [" 0", "1\n"], TWO, {"accuracy": 100}),
        (["1.0", "1.0"], ["0.0", "2.0"], None, {"pearson": 0, "spearman": 0}),
        (["1.0"], ["1.0"], None, {"pearson": 0, "spearman": 0}),
        (["1.0", "2.0"], ["0.0", "2.0"], None, {"pearson": 100, "spearman": 100}),
        (["0"], ["0"], TWO, {"accuracy": 100, "f1": 0, "macro_f1": 100, "matthews": 0}),
        # "maybe" and "" are one class: counts 2, 3, 0 of the targets and 1, 2, 2 of the predictions, and three hits.
        (["0", "1", "1", "0", "1"], ["0", "1", "maybe", "", "1"], TWO, {"matthews": 100 * 7 / (12 * 16) ** 0.5}),
    ],
)
def test_scores_by_hand(
    truth: list[str], answers: list[str], labels: list[str] | None, expected: dict[str, float]
) -> None:
    assert score(list(expected), truth, answers, labels) == pytest.approx(expected)


def test_no_number_counts_as_minus_one_and_huge_numbers_give_no_warning() -> None:
    truth = ["1.0", "2.0", "3.0", "4.0", "5.0", "0.0", "0.5", "3.3", "2.5"]
    answers = ["1.0", "two", "3.0", "nan", "inf", "", "1_0", "9" * 400, "١"]
    numbers = [1.0, -1.0, 3.0, *[-1.0] * 6]
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
        (["f1"], ["0"], ["0"], FIVE, "has 5 classes. Use accuracy, exact_match, log_loss, "),
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
    (found,) = score_answers(["spearman"], answers).values()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == pytest.approx(100 * stats.spearmanr(answers.targets, answers.predictions).statistic)
    assert peak < 10 * 2**20


def test_exact_match_by_hand() -> None:
    groups = [7, 3, 7, 3, 5]  # 7: one of two is right; 3: both are right; 5: right
    targets, predictions = ["1", "0", "0", "1", "1"], ["1", "0", "1", "1", "1"]
    found = score(["exact_match", "f1"], targets, predictions, TWO, groups)
    assert found == pytest.approx({"exact_match": 200 / 3, "f1": 100 * 6 / 7})


def test_spearman_of_weighted_examples_is_that_of_repeated_ones() -> None:
    targets, predictions, _ = strings(0, 40, 1)
    check_redrawn_scores(METRICS["spearman"], [encode(targets, predictions, None)])
