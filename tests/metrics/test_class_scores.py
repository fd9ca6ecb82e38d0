"""Test the scores of each class against scikit-learn, and the confusion matrix and residuals against formulas."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix

from krona.metrics.class_scores import ClassScores, class_scores, confused_pairs, confusion, residuals
from krona.metrics.scores import get_metric
from krona.metrics.scores.metric import Answers, encode


def draw(case: int) -> Answers:
    """Return random answers: with absent classes, one class, constant predictions, or invalid predictions."""
    rng = np.random.default_rng(case)
    classes, rows = int(rng.integers(2, 9)), int(rng.integers(1, 60))
    some = rng.integers(0, classes, size=int(rng.integers(1, classes + 1)))
    truth, given = rng.choice(some, rows), rng.integers(0, classes, rows)
    match case % 4:
        case 1:
            given = np.full(rows, given[0])
        case 2:
            given = truth.copy()
        case 3:
            given[rng.random(rows) < 0.3] = -1
    return Answers(truth, given, classes=classes)


def check_class_scores(ours: ClassScores, report: Any) -> None:
    """Check the scores of each class, and their averages, against those of scikit-learn's report."""
    for place, label in enumerate(ours.ids.tolist()):
        own = [ours.precision[place], ours.recall[place], ours.f1[place], 100 * ours.rows[place]]
        expected = [100 * report[str(label)][key] for key in ("precision", "recall", "f1-score", "support")]
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-10)  # in points, so 1e-12 of the fraction
    for name, values in ours.averages().items():
        average = report[name.replace("average", "avg")]
        expected = [100 * average[key] for key in ("precision", "recall", "f1-score")]
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_they_are_those_of_scikit_learn(first: int) -> None:
    for case in range(first, first + 50):
        answers = draw(case)
        given = answers.predictions_with_invalid_flipped  # with two classes, an invalid prediction is the other label
        present = sorted({*answers.targets.tolist(), *given[given >= 0].tolist()})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sets of labels that look like a regression's targets
            theirs = classification_report(answers.targets, given, labels=present, output_dict=True, zero_division=0)
        ours = class_scores(answers)
        assert ours.ids.tolist() == present
        check_class_scores(ours, theirs)
        assert ours.averages()["macro average"][2] == pytest.approx(
            get_metric("macro_f1", answers.classes).score(answers), abs=1e-10
        )


@pytest.mark.parametrize("case", range(40))
def test_the_confusion_matrix_is_that_of_scikit_learn(case: int) -> None:
    answers = draw(case)
    ids = [*range(answers.classes), -1]
    theirs = confusion_matrix(answers.targets, answers.predictions, labels=ids)[:-1]
    np.testing.assert_array_equal(confusion(answers), theirs)


def test_the_most_confused_pairs() -> None:
    counts = np.array([[5, 2, 0, 1], [3, 9, 0, 0], [0, 3, 1, 0]])
    assert confused_pairs(counts, 3) == [(1, 0, 3), (2, 1, 3), (0, 1, 2)]
    assert confused_pairs(counts, 20) == [(1, 0, 3), (2, 1, 3), (0, 1, 2), (0, 3, 1)]
    assert confused_pairs(np.diag([1, 2]), 20) == []


def test_residuals() -> None:
    answers = encode(["1.0", "2.0", "3.0", "4.0"], ["2.0", "2.0", "1.0", "4.5"], None)
    found = residuals(answers)
    errors = np.array([1.0, 0.0, -2.0, 0.5])
    assert found["mean"] == pytest.approx(errors.mean())
    assert found["mean absolute"] == pytest.approx(np.abs(errors).mean())
    assert found["root mean square"] == pytest.approx(np.sqrt(np.square(errors).mean()))
    assert found["50 % quantile"] == pytest.approx(0.25)
