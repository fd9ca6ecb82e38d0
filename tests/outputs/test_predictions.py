"""Predictions in words, and what is said where most are no label."""

import pytest

from krona.outputs.predictions import in_words, label_words, no_label_line, without_label
from krona.outputs.result import outcomes
from report.generate import make_result

RTE = {"labels": {"not_entailment": 1, "entailment": 0}}


def test_labels_in_words() -> None:
    assert label_words(RTE) == {"0": "entailment", "1": "not_entailment"}
    assert label_words({"labels": ["a", "b"]}) == {"0": "a", "1": "b"}
    assert label_words({"labels": None}) == {}
    assert in_words(" 1", label_words(RTE)) == "not_entailment"
    assert in_words("yes", label_words(RTE)) == "'yes' (no label)"
    assert in_words("2.5", {}) == "2.5"
    assert in_words("nan", {}) == "'nan' (no number)"


def test_what_is_no_label() -> None:
    assert without_label(["0", "1 ", "", "01"], RTE) == ["", "01"]
    assert without_label(["0.5", "-1", "1e5", "x"], {"labels": None}) == ["1e5", "x"]


@pytest.mark.parametrize(("wrong", "said"), [(60, False), (61, True), (120, True)])
def test_it_is_said_where_most_are_none(wrong: int, said: bool) -> None:
    result = make_result("krona", "rte", rows=120)
    assert result.test is not None
    result.test["outcomes"] = outcomes(["0"] * 120, ["true"] * wrong + ["0"] * (120 - wrong))
    line = no_label_line(result)
    assert (line is not None) == said
    if line is not None:
        assert f"{wrong} of 120 test predictions are no label of rte (0, 1)" in line
        assert "'true'" in line
        assert "optimizer.lr (now 0.002)" in line
        assert "optimizer.warmup_steps (now 500)" in line


def test_a_regression_and_a_run_that_has_no_scores() -> None:
    result = make_result("krona", "stsb", rows=10)
    assert result.test is not None
    assert no_label_line(result) is None
    result.test["outcomes"] = outcomes(["1.0"] * 10, ["many"] * 10)
    assert "10 of 10 test predictions are no number" in str(no_label_line(result))
    result.test = result.dev = None
    assert no_label_line(result) is None


def test_no_rate_is_advised_where_nothing_trains() -> None:
    result = make_result("untuned", "rte", rows=10)
    assert result.test is not None
    result.trainable_params = 0
    result.test["outcomes"] = outcomes(["0"] * 10, ["true"] * 10)
    assert str(no_label_line(result)).endswith("nothing was trained to answer")
