"""Test the predictions as words."""

import numpy as np
import pytest
from scipy import stats

from krona.metrics.scores.metric import Answers
from krona.runs.predictions import _check_scores, decode_label, invalid_predictions, label_words, score_metrics

RTE = {"labels": {"not_entailment": 1, "entailment": 0}}


def test_labels_in_words() -> None:
    assert label_words(RTE) == {"0": "entailment", "1": "not_entailment"}
    assert label_words({"labels": ["a", "b"]}) == {"0": "a", "1": "b"}
    assert label_words({"labels": None}) == {}
    assert decode_label(" 1", label_words(RTE)) == "not_entailment"
    assert decode_label("yes", label_words(RTE)) == "'yes' (no label)"
    assert decode_label("2.5", {}) == "2.5"
    assert decode_label("nan", {}) == "'nan' (no number)"


def test_what_is_no_label() -> None:
    assert invalid_predictions(["0", "1 ", "", "01"], RTE) == ["", "01"]
    assert invalid_predictions(["0.5", "-1", "1e5", "x"], {"labels": None}) == ["1e5", "x"]


def test_scipys_score_of_nearly_equal_predictions_is_accepted() -> None:
    """The stored scores of such a run are correct, so it must not be called edited."""
    random = np.random.default_rng(0)
    truth = random.uniform(0, 5, 200)
    answers = Answers(truth, 2.7 + 1e-9 * random.normal(size=200), classes=0)
    exact = 100 * stats.pearsonr(truth, answers.given).statistic
    _check_scores("dev", {"parts": {"pearson": exact}, "score": exact}, answers, ["pearson"])
    with pytest.raises(ValueError, match="Was a file edited"):
        _check_scores("dev", {"parts": {"pearson": exact + 1}, "score": exact + 1}, answers, ["pearson"])


def test_a_single_metric_needs_no_list() -> None:
    assert score_metrics({"metrics": "accuracy"}) == ["accuracy"]
    assert score_metrics({"metrics": ["f1", "accuracy"], "score": "f1"}) == ["f1"]
