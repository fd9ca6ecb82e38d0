"""Test source and target texts, and the errors in a task's YAML file."""

import re
from typing import Any

import pytest

from krona.messages import KronaError
from krona.paper import TASKS
from krona.tasks import Task
from krona.tasks.values import BadRowError, round_number
from nested import with_values
from tasks.glue_files import task

OWN = {"name": "stars", "columns": ["text"], "labels": ["bad", "ok", "good"], "metrics": ["accuracy", "macro_f1"]}


def test_source_texts_are_those_of_the_protocol() -> None:
    pair = ("A cat.", "A pet.")
    assert task("rte").source(pair) == "sentence1: A cat. sentence2: A pet."
    assert task("rte").source(pair, prefix=True) == "rte sentence1: A cat. sentence2: A pet."
    assert task("sample_rte").source(pair, prefix=True) == "rte sentence1: A cat. sentence2: A pet."
    assert task("mnli").source(pair) == "premise: A cat. hypothesis A pet."
    turned = task("mnli", template="{hypothesis} follows from {premise}: {hypothesis}")
    assert turned.source(pair) == "A pet. follows from A cat.: A pet."


def test_braces_and_percent_signs_in_a_text_stay_text() -> None:
    assert task("rte").source(("{sentence2} %s {0}", "{")) == "sentence1: {sentence2} %s {0} sentence2: {"


IDS = {
    "rte": {"entailment": "0", "not_entailment": "1"},
    "qnli": {"entailment": "0", "not_entailment": "1"},
    "mnli": {"entailment": "0", "neutral": "1", "contradiction": "2"},
    "mrpc": {"not_equivalent": "0", "equivalent": "1"},
    "qqp": {"not_duplicate": "0", "duplicate": "1"},
    "cola": {"unacceptable": "0", "acceptable": "1"},
    "sst2": {"negative": "0", "positive": "1"},
    "cb": {"entailment": "0", "contradiction": "1", "neutral": "2"},
    "copa": {"choice1": "0", "choice2": "1"},
}


@pytest.mark.parametrize("name", IDS)
def test_label_words_and_ids_are_those_of_the_benchmark(name: str) -> None:
    for word, target in IDS[name].items():
        for value in (word, f" {word} ", target, int(target), float(target), f"{target}.0"):
            assert task(name).target({"label": value}) == target
    assert task(name).target_strings() == list(IDS[name].values())


@pytest.mark.parametrize(
    ("value", "target", "rounded"),
    [
        ("5.000", "5.0", "5.0"),
        (3.25, "3.25", "3.2"),
        ("2.45", "2.45", "2.4"),
        (2.450000047683716, "2.45", "2.4"),  # the same score as a float32
        (-0.01, "-0.01", "0.0"),
        ("1e14", "100000000000000.0", "100000000000000.0"),
    ],
)
def test_a_regressions_target_keeps_its_value_unless_it_is_rounded(value: object, target: str, rounded: str) -> None:
    assert task("stsb").target({"label": value}) == target
    assert round_number(target, 1) == rounded
    assert task("stsb").target_strings() is None


WRONG = {
    "rte": (["-", "2", -1, "Entailment", "1.01", 0.5], "is not one of entailment (0), not_entailment (1)"),
    "stsb": (["good", "nan", "inf", 1e300, "1_0"], "is not a number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_label_is_an_error(name: str) -> None:
    values, message = WRONG[name]
    for value, expected in [
        *((value, message) for value in values),
        *((value, "the label is empty") for value in (None, "", " ")),
    ]:
        with pytest.raises(BadRowError, match=re.escape(expected)):
            task(name).target({"label": value})


def test_metrics_and_the_tables_score() -> None:
    scores = {"f1": 80.0, "accuracy": 70.0}
    assert (task("mrpc").criterion(scores), task("mrpc").table_score(scores)) == (75.0, 80.0)
    assert (task("qqp").criterion(scores), task("qqp").table_score(scores)) == (75.0, 70.0)
    both = {"pearson": 90.0, "spearman": 80.0}
    assert (task("stsb").criterion(both), task("stsb").table_score(both)) == (85.0, 85.0)
    assert task("cola").metrics == ("matthews",)
    assert {task(name).metrics for name in ("rte", "sst2", "mnli", "qnli")} == {("accuracy",)}


@pytest.mark.parametrize("name", TASKS)
def test_a_sample_task_is_its_namesake_but_for_the_data(name: str) -> None:
    sample, real = task(f"sample_{name}"), task(name)
    assert (sample.data_kind, real.data_kind) == ("sample", "glue")
    assert (sample.template, sample.labels, sample.metrics) == (real.template, real.labels, real.metrics)
    assert (sample.name, sample.split) == (f"sample_{name}", "given")


def test_a_users_task_needs_four_keys() -> None:
    own = Task.from_config(OWN | {"files": {"train": "a.csv", "dev": None}})
    assert own.template == "text: {text}"
    assert own.score == ("accuracy", "macro_f1")
    assert own.labels == {"bad": 0, "ok": 1, "good": 2}
    assert (own.data_kind, own.files) == ("own", {"train": "a.csv"})


def test_numbers_as_label_words_are_words_and_never_ids() -> None:
    stars = Task.from_config(OWN | {"labels": [1, 2, 3]})
    assert [stars.target({"label": value}) for value in (1, "2", 3.0, "3.0")] == ["0", "1", "2", "2"]
    with pytest.raises(BadRowError, match="label '0' is not one of 1, 2, 3"):
        stars.target({"label": 0})
    with pytest.raises(BadRowError, match=r"label '-1' is not one of 1, 2, 3 \(GLUE's test sets on the Hub have -1"):
        stars.target({"label": -1})
    halves = Task.from_config(OWN | {"labels": ["1.0", "1.5"]})
    assert [halves.target({"label": value}) for value in ("1.0", 1.0, 1.5)] == ["0", "0", "1"]
    truth = Task.from_config(OWN | {"labels": [" false", "true "]})  # blanks are ignored
    assert [truth.target({"label": value}) for value in (False, True, " true")] == ["0", "1", "1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lables": ["a", "b"]}, "unknown key 'lables': did you mean 'labels'?"),
        ({"metrics": ["acuracy"]}, "metric 'acuracy': did you mean 'accuracy'?"),
        (
            {"metrics": ["f1"]},
            "'f1' is for 2 classes, but the task has 3 classes. Use accuracy, exact_match, log_loss, macro_f1",
        ),
        ({"metrics": ["pearson"]}, "'pearson' is for numbers (labels: null), but the task has 3 classes"),
        ({"labels": None}, "'accuracy' is for classes"),
        ({"labels": [True, False]}, "in quotes"),
        ({"labels": ["a"]}, "labels needs at least two classes, but has 1"),
        ({"labels": {"a": 0, "b": 0}}, "have the same id"),
        ({"labels": {"a": 0, "b": "x"}}, "not a whole number"),
        ({"columns": ["text", "text"]}, "columns contains 'text' twice"),
        ({"template": "text: {txt}"}, "did you mean 'text'?"),
        ({"template": "no column"}, "does not use the column 'text'"),
        ({"score": ["f1"]}, "score 'f1'"),
        ({"split": "halves"}, "split='halves' must be 'halve_validation', 'carve_train', 'mnli' or 'given'"),
        ({"files": {"trian": "a.csv"}}, "files.trian: did you mean 'train'?"),
        ({"files": {"dev": "a.csv"}}, "files has no 'train'"),
        ({"tsv": {"fold": "x"}}, "unknown key 'fold': did you mean 'folder'?"),
        ({"labels": ...}, "task stars: labels is missing"),
        ({"columns": ...}, "task stars: columns is missing"),
    ],
)
def test_a_wrong_yaml_is_one_message(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(KronaError, match=re.escape(message)) as caught:
        Task.from_config(with_values(OWN, changes))
    assert ("\n" in str(caught.value)) == ("tsv" in changes)  # whose folder is missing too
