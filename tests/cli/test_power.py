"""Test `krona power`: test sets, the paper's differences, a check by simulation, and the output of the command."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from krona.cli.krona import app
from krona.cli.power_table import MNLI_DEV, TEST_SETS, choose_test_sets, paper_differences
from krona.messages import KronaError
from krona.metrics.answers import Answers
from krona.metrics.power import LEVEL, Assumed, Errors, smallest_difference
from krona.metrics.statistics import swap_test
from krona.tasks.notes import GLUE_ROWS
from typed_run import krona


def test_the_test_sets_are_those_of_the_papers_protocol():
    for task, errors in TEST_SETS.items():
        rows = GLUE_ROWS[task].get("validation", GLUE_ROWS[task].get("validation_matched"))
        halved = task in ("cola", "rte", "mrpc", "stsb")
        assert errors.examples == (rows - rows // 2 if halved else rows)
    assert GLUE_ROWS["mnli"]["validation_mismatched"] == MNLI_DEV.examples


def test_neighbours_of_table_1_and_a_pair():
    pairs = paper_differences("1", ["rte", "stsb"], assumed=Assumed())
    assert len(pairs) == 16, "nine methods on each"
    assert [pairs[0].better, pairs[0].other, pairs[0].examples] == ["krona", "krona_b_res", 1]
    assert pairs[-1].examples is None
    assert pairs[-1].best is None, "a correlation counts no examples"
    assert 0 < pairs[-1].realistic < 1
    (pair,) = paper_differences("1", ["rte"], rows=["lora", "krona"], assumed=Assumed())
    assert (pair.better, pair.examples, pair.best) == ("krona", 5, 0.0625)
    assert pair.realistic > pair.best


def test_table_9_is_of_dev():
    (pair,) = paper_differences("9", ["mnli"], rows=["2x384", "48x16"], assumed=Assumed())
    assert pair.examples == round(0.0013 * 9832)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "rte", "--table", "2"], "Table 2 has no scores by task"),
        (["--task", "rte", "--pair", "krona"], "Give two rows, as"),
        (["--task", "rte", "--pair", "krona,lorra"], "did you mean 'lora'"),
        (["--task", "rtee"], "did you mean 'rte'.*--examples"),
        (["--examples", "100"], "describe one task. Give its name with --task"),
        (["--task", "rte", "--score", "120"], "--score 120"),
    ],
)
def test_a_mistake_is_one_message(words, message):
    with pytest.raises(KronaError, match=message):
        krona("power", *words)


@pytest.mark.parametrize("words", [["--unshared", "1.2"], ["--unshared", "0"], ["--lasting", "-0.1"]])
def test_shares_are_between_0_and_1(words):
    done = CliRunner().invoke(app, ["power", *words])
    assert done.exit_code == 2
    assert words[0] in done.output


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


def simulated_power(errors, difference, *, score, seeds, assumed, test_sets):
    """Return the share of simulated test sets with p ≤ 0.05, for a true ``difference`` of the scores in points."""
    rng = np.random.default_rng(0)
    found = 0
    for i in range(test_sets):
        a, b = _classes(rng, errors, difference, score, seeds, assumed)
        found += swap_test(a, b, [errors.metric], swaps=1_000, seed=i).p <= LEVEL
    return found / test_sets


def _classes(rng, errors, difference, score, seeds, assumed):
    """Return predictions of two methods for two classes.

    Both classes have as many errors, as `Errors.points` assumes.
    """
    n = errors.examples
    delta = difference / (errors.points * n)
    d = max(errors.discordant(score, score, assumed), delta)
    both_wrong = max(0.0, errors.share_wrong(score) - d / 2)
    # Outcomes of an example: only a right, only b right, both wrong, both right.
    chances = np.array([(d + delta) / 2, (d - delta) / 2, both_wrong, 0.0])
    truth = (np.arange(n) < round(errors.positive * n)).astype(int)
    lasts = rng.random(n) < assumed.lasting
    steady = _outcomes(rng, chances, truth)
    runs = ([], [])
    for _ in range(seeds):
        outcome = np.where(lasts, steady, _outcomes(rng, chances, truth))
        for side, wrongs in zip(runs, ((1, 2), (0, 2)), strict=True):
            side.append(Answers(truth, np.where(np.isin(outcome, wrongs), 1 - truth, truth), 2))
    return runs


def _outcomes(rng, chances, truth):
    """Return an outcome for each example.

    The rarer class has a higher error rate, so that both classes have as many errors.
    """
    drawn = np.empty(len(truth), dtype=int)
    for label in (0, 1):
        rows = truth == label
        own = chances * (0.5 / max(rows.mean(), 1e-9))
        own[3] = 1 - own[:3].sum()
        drawn[rows] = rng.choice(4, size=int(rows.sum()), p=own)
    return drawn


@pytest.mark.parametrize(("task", "seeds", "near"), [("rte", 1, 0), ("rte", 3, 0), ("mrpc", 1, 0.06)])
def test_the_projects_own_test_has_that_power(task, seeds, near):
    """The values agree within the Monte Carlo error. F1 is approximated, so six more points are allowed."""
    (errors, score), sets = choose_test_sets([task], examples=None, score=None)[task], 300
    least = smallest_difference(errors, score=score, seeds=seeds, assumed=Assumed())
    found = simulated_power(errors, least, score=score, seeds=seeds, assumed=Assumed(), test_sets=sets)
    assert found == pytest.approx(0.8, abs=near + 3 * np.sqrt(0.8 * 0.2 / sets))
