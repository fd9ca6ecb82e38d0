"""Test the notes on scores that may be meaningless."""

from pathlib import Path

import numpy as np
import pytest

from krona.metrics.compare_methods import mean_score
from krona.metrics.scores import score
from krona.metrics.scores.metric import encode
from krona.runs.predictions import Outcomes, label_ids, score_metrics
from krona.runs.result import Result
from krona.runs.suspicious_scores import (
    advice,
    constant_answers,
    examine_scores,
    find_messages,
    message_lines,
)
from report.generate import make_result, set_answers, write_all


def set_outcomes(result: Result, targets: list[str], given: list[str], split: str = "test") -> dict[str, Outcomes]:
    """Set the predictions of the result and their score. Return its outcomes."""
    set_answers(result, targets, given, split)
    return {split: Outcomes(given, encode(targets, given, label_ids(result.config["task"])))}


def texts(result: Result, outcomes: dict[str, Outcomes] | None = None) -> list[str]:
    return [message.text for message in find_messages(result, outcomes or {}, "test")]


def test_constant_predictions_are_compared_with_the_best_constant() -> None:
    result = make_result("krona", "mrpc")
    outcomes = set_outcomes(result, ["1"] * 139 + ["0"] * 65, ["1"] * 204)
    (message,) = find_messages(result, outcomes, "test")
    assert message.text.startswith('all 204 test predictions are "1" (equivalent). ')
    assert (message.text[-5:], message.warns, message.collapsed) == ("81.05", True, True)
    assert result.test["score"] == pytest.approx(81.05, abs=0.01)


@pytest.mark.parametrize(("task", "targets"), [("cola", "011"), ("mnli", "0122"), ("mrpc", "011")])
def test_constant_scores_are_those_of_the_labels_as_predictions(task: str, targets: str) -> None:
    config = make_result("krona", task).config["task"]
    labels = label_ids(config)
    constants = constant_answers(encode([*targets], [*targets], labels))
    for label, one in zip(labels, [mean_score(own, score_metrics(config)) for own in constants], strict=True):
        expected = score(score_metrics(config), [*targets], [label] * len(targets), labels)
        assert one == pytest.approx(np.mean([*expected.values()])), label


@pytest.mark.parametrize(("wrong", "marked", "collapsed"), [(12, False, False), (13, True, False), (61, True, True)])
def test_more_than_a_tenth_of_invalid_predictions(wrong: int, marked: bool, collapsed: bool) -> None:
    result = make_result("krona", "rte")
    outcomes = set_outcomes(result, ["0", "1"] * 60, ["true"] * wrong + (["0", "1"] * 60)[wrong:])
    found = find_messages(result, outcomes, "test")
    assert len(found) == marked
    for message in found:
        assert f"{wrong} of 120 " in message.text
        assert f"{wrong} × 'true'" in message.text
        assert (message.warns, message.collapsed) == (True, collapsed)


def test_a_few_invalid_predictions_do_not_hide_constant_ones() -> None:
    result = make_result("krona", "rte")
    outcomes = set_outcomes(result, ["0", "1"] * 60, ["x"] * 5 + ["0"] * 115)
    assert texts(result, outcomes)[0].startswith('115 of 120 test predictions are "0" (entailment)')


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2.51 2.5 2.49 2.5", ["all 4 test predictions are 2.5"]),
        ("many 2.5 1.0 3.0", ["1 of 4 test predictions is not a number"]),
        ("-1 -2 1.0 3.0", ["the test score is not significantly above 0.00, "]),
    ],
)
def test_predictions_of_a_regression(given: str, expected: list[str]) -> None:
    result = make_result("krona", "stsb")
    found = texts(result, set_outcomes(result, ["1.0", "2.0", "5.0", "4.4"], given.split()))
    for text, start in zip(found, expected, strict=True):
        assert text.startswith(start)


@pytest.mark.parametrize("task", ["rte", "stsb"])
def test_a_meaningful_score_has_no_messages(task: str) -> None:
    result = make_result("krona", task)
    for split in ("dev", "test"):
        targets, given = map(list, zip(*getattr(result, split)["rows"], strict=True))
        outcomes = {split: Outcomes(given, encode(targets, given, label_ids(result.config["task"])))}
        assert find_messages(result, outcomes, split) == []


@pytest.mark.parametrize(
    ("task", "right", "collapsed"), [("rte", 117, True), ("rte", 125, False), ("cola", 105, True), ("cola", 130, False)]
)
def test_a_run_collapsed_if_its_score_is_not_significantly_above_a_constant(
    task: str, right: int, collapsed: bool
) -> None:
    """The predictions have both classes."""
    result = make_result("krona", task)
    targets = ["0", "1"] * 100
    given = [target if row < right else str(1 - int(target)) for row, target in enumerate(targets)]
    outcomes = set_outcomes(result, targets, given)
    constant = max(
        mean_score(one, score_metrics(result.config["task"])) for one in constant_answers(outcomes["test"].answers)
    )
    found = find_messages(result, outcomes, "test")
    assert [(message.warns, message.collapsed) for message in found] == [(True, True)] * collapsed
    for message in found:
        assert message.text.startswith(f"the test score is not significantly above {constant:.2f}, ")


def test_a_head_that_was_not_trained() -> None:
    result = make_result("untuned", "rte")
    result.best_epoch = 0
    assert texts(result) == []  # the backbone predicts without a new head
    result.head_params = 770
    assert ["a head with random weights" in text for text in texts(result)] == [True]


@pytest.mark.parametrize(("skipped", "warns"), [(25, False), (26, True)])
def test_more_than_a_hundredth_of_skipped_rows_is_a_warning(skipped: int, warns: bool) -> None:
    result = make_result("krona", "rte")
    result.splits["train"] |= {"rows": 2_500 - skipped, "skipped_rows": skipped}
    assert texts(result) == ["data.skip_bad_rows left out 26 rows of train (1.04 %)"] * warns


def lines(outputs: Path, result: Result) -> list[str]:
    write_all(outputs, [result])
    return message_lines(result, examine_scores(result, outputs / result.run_id)[1])


def test_the_last_messages_after_a_run_has_advice(tmp_path: Path) -> None:
    result = make_result("krona", "rte")
    set_outcomes(result, ["0"] * 6 + ["1"] * 4, ["1"] * 10)
    (line,) = lines(tmp_path, result)
    assert line.startswith('! all 10 test predictions are "1" (not_entailment)')
    assert line.endswith(advice(result))


@pytest.mark.parametrize(
    ("max_steps", "more"), [(-1, "more trainer.max_epochs (now 5) or"), (9, "more trainer.max_steps (now 9) or")]
)
def test_the_advice_names_the_setting_that_ended_the_run(max_steps: int, more: str) -> None:
    result = make_result("krona", "rte", change={"trainer.max_epochs": 5, "trainer.max_steps": max_steps})
    assert more in advice(result)
    assert "a higher optimizer.lr (now 0.002)" in advice(result)
    result.trainable_params = 0
    assert advice(result) == "No parameters were trained"
