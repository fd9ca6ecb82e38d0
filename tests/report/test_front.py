"""The Pareto front of cost and score, and how sure it is."""

import pytest

from krona.report.build import collect
from krona.report.costs import standings
from report.generate import make_result, write_all


def runs_of(outputs, scores):
    """``scores``: method → (parameters, a score for each seed)."""
    for method, (params, values) in scores.items():
        for seed, score in enumerate(values):
            one = make_result(method, "rte", seed, rows=20)
            one.trainable_params, one.test["score"] = params, score
            one.test.pop("outcomes")
            write_all(outputs, [one])
    runs = collect(outputs).runs
    return [[run for run in runs if run.result.method == method] for method in scores]


def test_what_no_other_beats_on_both_is_on_the_front(tmp_path):
    rows = runs_of(tmp_path, {"full": (1000, [90, 90]), "lora": (10, [80, 80]), "krona": (10, [70, 70]),
                              "pa": (20, [80, 80]), "adapter": (10, [80, 80])})  # fmt: skip
    found = standings(rows, "test", "params")
    assert [one.on_front for one in found] == [True, True, False, False, True]
    assert [one.probability for one in found] == [1.0, 1.0, 0.0, 0.0, 1.0]
    assert [one.cost for one in found] == [1000, 10, 10, 20, 10]


def test_the_probability_is_that_of_drawing_the_seeds_anew(tmp_path):
    rows = runs_of(tmp_path, {"lora": (10, [80, 80]), "krona": (20, [70, 90])})
    lora, krona = standings(rows, "test", "params")
    assert lora.probability == 1.0
    assert krona.probability == pytest.approx(1 / 4, abs=0.05), "only the draw of 90 twice beats 80: ties do not"
    assert standings(rows, "test", "params") == [lora, krona]


def test_single_seeds_have_no_probability_and_an_unknown_cost_no_standing(tmp_path):
    rows = runs_of(tmp_path, {"lora": (10, [80]), "krona": (20, [90])})
    assert [one.probability for one in standings(rows, "test", "params")] == [None, None]
    rows[0][0].result.peak_memory.clear()
    assert standings(rows, "test", "memory")[0] is None
    assert standings([[], []], "test", "time") == [None, None]
