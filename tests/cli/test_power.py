"""Test `krona power`: test sets, the paper's differences, and the output of the command."""

import json

import pytest

from krona.cli.power_table import TEST_SETS, choose_test_sets, paper_differences
from krona.messages import KronaError
from krona.metrics.power import Assumed, Errors, smallest_difference
from typed_run import krona


def test_the_test_sets_are_those_of_the_papers_protocol():
    sizes = {"cola": 522, "rte": 139, "mrpc": 204, "sst2": 872, "stsb": 750, "mnli": 9815, "qnli": 5463, "qqp": 40430}
    assert {task: errors.examples for task, errors in TEST_SETS.items()} == sizes


def test_neighbours_of_table_1_and_pairs():
    pairs = paper_differences("1", ["rte", "stsb"], assumed=Assumed())
    assert len(pairs) == 16, "nine methods on each"
    assert [pairs[0].better, pairs[0].other, pairs[0].examples] == ["krona", "krona_b_res", 1]
    assert pairs[-1].examples is None
    assert pairs[-1].best is None, "a correlation counts no examples"
    assert 0 < pairs[-1].realistic < 1
    (pair,) = paper_differences("1", ["rte"], rows=["lora", "krona"], assumed=Assumed())
    assert (pair.better, pair.examples, pair.best) == ("krona", 5, 0.0625)
    assert pair.realistic > pair.best
    (pair,) = paper_differences("9", ["mnli"], rows=["2x384", "48x16"], assumed=Assumed())
    assert pair.examples == round(0.0013 * 9832), "Table 9 has scores of dev"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "rte", "--table", "2"], "Table 2 has no scores by task"),
        (["--task", "rte", "--pair", "krona"], "Give two rows, as"),
        (["--task", "rte", "--pair", "krona,lorra"], "did you mean 'lora'"),
        (["--task", "rtee"], "did you mean 'rte'.*--examples"),
        (["--examples", "100"], "describe one task. Give its name with --task"),
        (["--task", "rte", "--score", "120"], "--score 120"),
        (["--seeds", "0"], r"^Invalid value for '--seeds': .*\.$"),
        (["--seeds", "one"], r"^Invalid value for '--seeds': .*\.$"),
        (["--unshared", "1.2"], r"^Invalid value for '--unshared': "),
        (["--unshared", "0"], r"^Invalid value for '--unshared': "),
        (["--lasting", "-0.1"], r"^Invalid value for '--lasting': "),
    ],
)
def test_a_mistake_is_one_message(words, message):
    with pytest.raises(KronaError, match=message):
        krona("power", *words)


def test_the_command_prints_both_tables_and_json():
    text = krona("power", "--task", "rte", "--pair", "krona,lora", "--difference", "2")
    assert "0.0625" in text
    assert "over 20" in text, "no number of seeds shows 2 points on RTE"
    found = json.loads(krona("power", "--task", "rte", "--pair", "krona,lora", "--seeds", "3", "--json"))
    assert found["pairs"][0]["best"] == 0.0625
    least = smallest_difference(TEST_SETS["rte"], score=found["tasks"][0]["score"], seeds=3, assumed=Assumed())
    assert found["tasks"][0]["smallest_difference"]["3"] == least


def test_a_task_of_ones_own():
    assert choose_test_sets(["reviews"], examples=400, score=85.0) == {"reviews": (Errors("accuracy", 400), 85.0)}
    assert "reviews" in krona("power", "--task", "reviews", "--examples", "400", "--score", "85")
