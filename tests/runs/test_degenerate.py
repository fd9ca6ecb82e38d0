"""Scores that may mean nothing, and what is said of them."""

from typing import Any

import numpy as np
import pytest

from krona.metrics.answers import Answers, encode
from krona.metrics.scores import score
from krona.runs.degenerate import Remark, advice, constant_scores, lines, remarks
from krona.runs.predictions import label_ids, metrics_of
from krona.runs.result import Result, outcomes, unpack_outcomes
from report.generate import make_result


def with_answers(result: Result, targets: list[str], given: list[str], split: str = "test") -> dict[str, Answers]:
    """The result with these predictions and their score; its answers."""
    task = result.config["task"]
    parts = score(task["metrics"], targets, given, label_ids(task))
    table = float(np.mean([parts[name] for name in metrics_of(task)]))
    setattr(result, split, {"score": table, "choice": table, "parts": parts, "outcomes": outcomes(targets, given)})
    return {split: encode(targets, given, label_ids(task))}


def test_one_label_for_all_is_told_with_the_best_constant_score() -> None:
    result = make_result("krona", "mrpc")
    answers = with_answers(result, ["1"] * 139 + ["0"] * 65, ["1"] * 204)
    (remark,) = remarks(result, answers, "test")
    assert remark == Remark(
        'all 204 test predictions are "1" (equivalent); the best constant prediction scores 81.05', unlearned=True
    )
    assert result.test is not None
    assert result.test["score"] == pytest.approx(81.05, abs=0.01)


def test_constant_scores_are_the_libraries() -> None:
    for name, targets in (("cola", ["0", "1", "1"]), ("mnli", ["0", "1", "2", "2"]), ("mrpc", ["0", "1", "1"])):
        task = make_result("krona", name).config["task"]
        labels = label_ids(task)
        assert labels is not None
        found = constant_scores(encode(targets, targets, labels), metrics_of(task))
        for label, one in zip(labels, found, strict=True):
            expected = score(metrics_of(task), targets, [label] * len(targets), labels)
            assert one == pytest.approx(np.mean([*expected.values()])), (name, label)


@pytest.mark.parametrize(("wrong", "said", "unlearned"), [(12, False, False), (13, True, False), (61, True, True)])
def test_more_than_a_tenth_without_a_label_is_told(wrong: int, said: bool, unlearned: bool) -> None:
    result = make_result("krona", "rte")
    answers = with_answers(result, ["0", "1"] * 60, ["true"] * wrong + (["0", "1"] * 60)[wrong:])
    found = remarks(result, answers, "test")
    assert bool(found) == said
    if said:
        assert found[0].text == (
            f"{wrong} of 120 test predictions are no label of rte (0, 1) and count as wrong ({wrong} are 'true'); "
            "the best constant prediction scores 50.00"
        )
        assert found[0].unlearned == unlearned


def test_a_few_without_a_label_do_not_hide_that_the_others_are_one() -> None:
    result = make_result("krona", "rte")
    answers = with_answers(result, ["0", "1"] * 60, ["x"] * 5 + ["0"] * 115)
    assert remarks(result, answers, "test")[0].text.startswith('115 of 120 test predictions are "0" (entailment);')


def test_a_regression_that_rounds_to_one_value_or_writes_no_numbers() -> None:
    result = make_result("krona", "stsb")
    targets = ["1.0", "2.0", "5.0", "4.4"]
    (remark,) = remarks(result, with_answers(result, targets, ["2.51", "2.5", "2.49", "2.5"]), "test")
    assert remark.text == "all 4 test predictions are 2.5; the best constant prediction scores 0.00"
    (remark,) = remarks(result, with_answers(result, targets, ["many", "2.5", "1.0", "3.0"]), "test")
    assert "1 of 4 test predictions are no number and count as wrong (1 are 'many')" in remark.text
    assert remarks(result, with_answers(result, targets, ["-1", "-2", "1.0", "3.0"]), "test") == []


def test_a_score_that_means_something_has_no_remark() -> None:
    for task in ("rte", "mnli", "stsb", "mrpc"):
        result = make_result("krona", task)
        for split in ("dev", "test"):
            part = getattr(result, split)["outcomes"]
            answers = {split: encode(*unpack_outcomes(part), label_ids(result.config["task"]))}
            assert remarks(result, answers, split) == []


def curve(*scores: float) -> list[dict[str, Any]]:
    return [{"epoch": i, "step": i, "score": one, "parts": {}} for i, one in enumerate(scores, start=1)]


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((60.0, 60.0, 60.0), "in all 3 epochs the dev score was that of a constant prediction (60.00)"),
        ((60.0, 40.0, 60.0), "in all 3 epochs the dev score was that of a constant prediction (40.00 or 60.00)"),
        ((60.0, 60.0, 70.0), None),
        ((50.0, 50.0), None),
        ((60.0,), None),
    ],
)
def test_a_dev_score_that_never_leaves_the_constant_ones(scores: tuple[float, ...], said: str | None) -> None:
    result = make_result("krona", "rte")
    answers = with_answers(result, ["0"] * 6 + ["1"] * 4, ["0", "1"] * 5, split="dev")
    result.dev_curve = curve(*scores)
    assert [remark.text for remark in remarks(result, answers, "test")] == ([said] if said else [])


def test_one_class_in_train() -> None:
    result = make_result("krona", "rte")
    result.splits["train"] |= {"rows": 30, "targets": {"1": 30}}
    assert remarks(result, {}, "test") == [Remark('all training rows (30) have the target "1" (not_entailment)')]
    own = make_result("krona", "grades", kind="own", change={"task.labels": {"good": 5, "bad": 1}})
    own.splits["train"] |= {"rows": 1, "targets": {"5": 1}}
    assert remarks(own, {}, "test")[0].text == 'all training rows (1) have the target "5" (good)'


def test_a_head_that_was_not_trained() -> None:
    result = make_result("untuned", "rte")
    result.best_epoch = 0
    assert remarks(result, {}, "test") == []  # a backbone that answers by itself
    result.head_params = 770
    (remark,) = remarks(result, {}, "test")
    assert remark.warns
    assert "a random head" in remark.text


@pytest.mark.parametrize(("skipped", "warns"), [(25, False), (26, True)])
def test_more_than_a_hundredth_of_a_source_left_out_is_a_warning(skipped: int, warns: bool) -> None:
    result = make_result("krona", "rte")
    faults = [{"kind": "wrong number of fields", "rows": skipped, "first": "train.tsv:7: 3 fields"}]
    result.splits["train"] |= {"rows": 2_500 - skipped, "skipped_rows": skipped, "skipped": faults}
    (remark,) = remarks(result, {}, "test")
    share = "1 %" if skipped == 25 else "1.04 %"
    assert remark == Remark(
        f"{skipped} rows of train left out by data.skip_bad_rows ({share}, {skipped} wrong number of fields)", warns
    )


def test_halves_of_one_source_are_counted_together_and_others_are_not() -> None:
    result = make_result("krona", "rte")
    faults = [{"kind": "unknown label", "rows": 4, "first": "dev.tsv:9: label 'x'"}]
    for name, rows in (("dev", 200), ("test", 196)):
        result.splits[name] |= {"rows": rows, "skipped_rows": 4, "skipped": faults}
    (remark,) = remarks(result, {}, "test")
    assert remark == Remark("4 rows of dev and test left out by data.skip_bad_rows (1 %, 4 unknown label)", False)
    for name in ("dev", "test"):  # as of an earlier version, which did not say what they were
        del result.splits[name]["skipped"]
    assert [remark.text for remark in remarks(result, {}, "test")] == [
        "4 rows of dev left out by data.skip_bad_rows (1.96 %)", "4 rows of test left out by data.skip_bad_rows (2 %)",
    ]  # fmt: skip


def test_a_part_of_train_does_not_make_the_share_larger() -> None:
    result = make_result("krona", "rte", change={"data.train_rows": 100})
    result.splits["train"] |= {"rows": 100, "skipped_rows": 5}
    assert remarks(result, {}, "test") == [Remark("5 rows of train left out by data.skip_bad_rows (0.2 %)", False)]
    del result.provenance["official_rows"]
    assert remarks(result, {}, "test") == [Remark("5 rows of train left out by data.skip_bad_rows", True)]


def test_after_a_run_the_last_remark_says_what_to_try() -> None:
    result = make_result("krona", "rte")
    with_answers(result, ["0"] * 6 + ["1"] * 4, ["1"] * 10)
    (line,) = lines(result)
    assert line.startswith('! all 10 test predictions are "1" (not_entailment); the best constant prediction scores')
    assert ". It has not learned how to answer: try a higher optimizer.lr" in line
    result.splits["train"]["skipped_rows"] = 9
    assert "It has not learned" in lines(result)[-1], "after all that is said"
    result.splits["train"]["targets"] = {"1": 24}
    assert not any("try a higher" in line for line in lines(result)), "longer training is no help there"
    untuned = make_result("untuned", "rte")
    untuned.trainable_params = 0
    with_answers(untuned, ["0", "1"], ["the", "the"])
    assert lines(untuned)[0].endswith(". Nothing was trained to answer")


def test_without_a_test_score_the_remarks_are_on_dev() -> None:
    result = make_result("krona", "rte")
    with_answers(result, ["0", "1"], ["1", "1"], split="dev")
    result.test = None
    assert lines(result)[0].startswith("! all 2 dev predictions")


@pytest.mark.parametrize(
    ("trainer", "more"),
    [
        ({"max_epochs": 5}, "more trainer.max_epochs (now 5) or"),
        ({"max_epochs": 5, "max_steps": 9}, "more trainer.max_steps (now 9) or"),
        ({"max_epochs": 5, "max_steps": 10}, "more trainer.max_steps (now 10) and trainer.max_epochs (now 5) or"),
        ({"max_epochs": 5, "max_steps": 300}, "more trainer.max_epochs (now 5) or"),
    ],
)
def test_more_of_what_ends_a_run_is_advised(trainer: dict[str, int], more: str) -> None:
    result = make_result("krona", "rte", change={f"trainer.{key}": value for key, value in trainer.items()})
    result.splits["train"]["rows"] = 150  # two steps of 100 an epoch
    assert more in advice(result)
    assert "a higher optimizer.lr (now 0.002)" in advice(result)
    result.trainable_params = 0
    assert advice(result) == "Nothing was trained to answer"
