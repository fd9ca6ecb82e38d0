"""Test the predictions as words."""

from krona.runs.predictions import decode_label, invalid_predictions, label_words

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
