"""Test `krona power`: test sets, mistakes, and the output of the command."""

import json

import pytest

from krona import KronaError
from krona.metrics.power import Assumed, Errors, smallest_difference
from typed_run import krona


def tasks(*words):
    return json.loads(krona("power", "--json", *words))["tasks"]


def test_the_test_sets_are_those_of_the_papers_protocol():
    sizes = {"cola": 522, "rte": 139, "mrpc": 204, "sst2": 872, "stsb": 750, "mnli": 9815, "qnli": 5463, "qqp": 40430}
    assert {row["task"]: row["examples"] for row in tasks()} == sizes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "rtee"], "did you mean 'rte'.*--examples"),
        (["--examples", "100"], "describe one task. Give its name with --task"),
        (["--task", "rte", "--score", "120"], "--score 120"),
        (["--seeds", "0"], r"^Invalid value for '--seeds': .*\.$"),
        (["--seeds", "one"], r"^Invalid value for '--seeds': .*\.$"),
    ],
)
def test_a_mistake_is_one_message(words, message):
    with pytest.raises(KronaError, match=message):
        krona("power", *words)


def test_the_command_prints_a_table_and_json():
    text = krona("power", "--task", "rte", "--difference", "2")
    assert "over 20" in text, "no number of seeds shows 2 points on RTE"
    (row,) = tasks("--task", "rte", "--seeds", "3")
    least = smallest_difference(Errors("accuracy", 139), score=row["score"], seeds=3, assumed=Assumed())
    assert row["smallest_difference"]["3"] == least


def test_a_task_of_ones_own():
    words = ("--task", "reviews", "--examples", "400", "--score", "85")
    (row,) = tasks(*words)
    assert (row["metric"], row["examples"], row["score"]) == ("accuracy", 400, 85.0)
    assert "reviews" in krona("power", *words)
