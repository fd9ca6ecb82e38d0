"""The Pareto front of score and cost."""

from krona.report.costs import mean_cost, on_front
from report.generate import collected, make_result


def test_a_point_that_no_other_beats_on_both_is_on_the_front():
    points = {"full": (90, 1000), "lora": (80, 10), "krona": (70, 10), "pa": (80, 20), "adapter": (80, 10)}
    found = dict(zip(points, on_front([*points.values()]), strict=True))
    assert found == {"full": True, "lora": True, "krona": False, "pa": False, "adapter": True}
    assert on_front([]) == []


def test_a_cost_is_the_mean_over_runs_and_unknown_without_one_of_them(tmp_path):
    results = [make_result("lora", "rte", seed, rows=20) for seed in (0, 1)]
    for result, seconds in zip(results, (10.0, 20.0), strict=True):
        result.times["train"] = seconds
    results[0].peak_memory.clear()
    runs = collected(tmp_path, results).runs
    assert mean_cost(runs, "time") == 15
    assert mean_cost(runs, "memory") is None
    assert mean_cost([], "time") is None
