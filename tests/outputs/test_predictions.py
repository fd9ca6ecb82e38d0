"""Predictions in words."""

from krona.outputs.predictions import in_words, label_words, without_label

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
