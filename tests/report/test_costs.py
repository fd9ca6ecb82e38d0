"""Test the Pareto front of score and cost, and the columns of costs and other quantities."""

import krona
from krona.report.costs import mean_cost, on_front
from krona.report.table import Cell
from report.generate import collected, grid


def by_score(one, other):
    return (one > other) - (one < other)


def test_a_point_that_no_other_beats_on_both_is_on_the_front():
    points = {"full": (90, 1000), "lora": (80, 10), "krona": (70, 10), "pa": (80, 20), "adapter": (80, 10)}
    scores, costs = zip(*points.values(), strict=True)
    found = dict(zip(points, on_front(scores, costs, by_score), strict=True))
    assert found == {"full": True, "lora": True, "krona": False, "pa": False, "adapter": True}
    assert on_front([], [], by_score) == []
    assert on_front([70.0, 60.0], [100.0, 98.0], by_score) == [True, True]
    assert on_front([70.0, 60.0], [100.0, 98.0], by_score, least=1.05) == [True, False]


def test_a_row_that_is_not_significantly_worse_and_cheaper_removes_a_row_from_the_front():
    never = on_front([90.0, 80.0, 70.0], [30.0, 20.0, 10.0], lambda one, other: 0)
    assert never == [False, False, True], "without a significant difference, only the cheapest row is on the front"
    assert on_front([90.0, 80.0], [10.2, 10.0], lambda one, other: 0, least=1.05) == [True, True]


def test_a_cost_is_the_mean_over_runs_and_unknown_without_one_of_them(tmp_path):
    results = grid(["lora"], ["rte"], [0, 1], rows=20)
    for result, seconds in zip(results, (10.0, 20.0), strict=True):
        result.times["train"] = seconds
    results[0].peak_memory.clear()
    cell = collected(tmp_path, results).tables[0].cell("lora", "rte")
    assert mean_cost(cell, "time") == 15
    assert mean_cost(cell, "memory") is None
    assert mean_cost(Cell(), "time") is None


def test_columns_show_the_ranks_that_runs_recorded_and_the_mean_of_what_they_measured(tmp_path):
    results = grid(["lora", "krona", "pa", "full"], ["rte"], [0, 1], rows=40)
    for result in results:
        if result.method == "lora":
            result.learned = {"effective_rank": 3.0 + result.seed / 2}
        elif result.method == "pa":
            result.provenance["update_rank"] = 24
        elif result.method == "full":
            del result.provenance["update_rank"]  # as in older results
    (table,) = collected(tmp_path, results).tables
    keys = [column.key for column in table.columns]
    assert keys[keys.index("rank") + 1] == "effective"
    ranks = {row.key: (row.cells["rank"].value, row.cells["rank"].missing) for row in table.rows}
    assert ranks == {"lora": (1, None), "krona": (576, None), "pa": (24, None), "full": (None, "")}
    assert {row.key: row.cells["effective"].value for row in table.rows if row.cells["effective"].value} == {
        "lora": 3.25
    }
    frame = krona.results(tmp_path)
    assert list(frame[frame.method == "lora"].effective_rank) == [3.0, 3.5]
