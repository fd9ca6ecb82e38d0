"""Test the Pareto front of score and cost, and the columns of costs and other quantities."""

from krona.report.charts import cost_charts, find_front, score_frame
from report.generate import collected, grid, make_result, with_score


def front(tmp_path, points):
    """Return which methods are on the front of (score, trainable parameters), without predictions."""
    results = [make_result(method, "rte", rows=40) for method in points]
    for result, (score, params) in zip(results, points.values(), strict=True):
        with_score(result, float(score)).trainable_params = params
    (table,) = collected(tmp_path, results).tables
    frame = score_frame(table, table.score_columns[0])
    found = find_front(table, table.score_columns[0], frame, "params")
    return {method for method, is_on_front in zip(frame.method, found, strict=True) if is_on_front}


def test_a_point_that_no_other_beats_on_both_is_on_the_front(tmp_path):
    points = {"full": (90, 1000), "lora": (80, 10), "krona": (70, 10), "pa": (80, 20), "adapter": (80, 10)}
    assert front(tmp_path / "five", points) == {"full", "lora", "adapter"}
    assert front(tmp_path / "two", {"full": (70, 100), "lora": (60, 98)}) == {"full"}, "2 % is no lower cost"


def test_times_are_medians_over_seeds_of_the_processor_time_if_all_runs_recorded_it(tmp_path):
    results = grid(["lora"], ["rte"], [0, 1, 2], rows=20)
    for result, seconds in zip(results, (10.0, 12.0, 90.0), strict=True):  # the machine was busy during one run
        result.times |= {"train": seconds, "train_cpu": seconds + 1}
    table = collected(tmp_path / "cpu", results).tables[0]
    assert table.rows[0].cells["time"].value == 13
    assert {column.key: column.label for column in table.columns}["time"] == "Training (CPU s)"
    del results[1].times["train_cpu"]
    table = collected(tmp_path / "wall", results).tables[0]
    assert table.rows[0].cells["time"].value == 12
    assert {column.key: column.label for column in table.columns}["time"] == "Training (s)"


def test_a_cost_is_unknown_without_one_of_its_runs(tmp_path):
    results = grid(["lora"], ["rte"], [0, 1], rows=20)
    results[0].peak_memory.clear()
    (table,) = collected(tmp_path, results).tables
    frame = score_frame(table, table.score_columns[0])
    assert [*frame[["memory", "time"]].isna().all()] == [True, False]


def test_a_report_of_runs_on_a_busy_machine_does_not_rank_their_times(tmp_path):
    for name, load in {"quiet": [0.1, 1.0], "busy": [0.1, 3.0], "unknown": []}.items():
        results = grid(["pa", "bitfit"], ["rte"], [0, 1, 2], rows=1000)
        for result in results:
            result.times["train"] = 20.0 if result.method == "bitfit" else 60.0
            result.provenance["load"] = load
        report = collected(tmp_path / name, results)
        (table,) = report.tables
        column = table.score_columns[0]
        (chart,) = (
            chart for chart in cost_charts(table, column, score_frame(table, column)) if "time" in chart.get_label()
        )
        front = [line for line in chart.axes[0].lines if line.get_gid() == "front"]
        assert bool(front) == (name == "quiet")
        assert ("busy" in chart.get_label()) == (name != "quiet")


def test_a_column_shows_the_ranks_that_runs_recorded(tmp_path):
    results = grid(["lora", "krona", "pa", "full"], ["rte"], [0, 1], rows=40)
    for result in results:
        if result.method == "pa":
            result.provenance["update_rank"] = 24
        elif result.method == "full":
            del result.provenance["update_rank"]  # as in older results
    (table,) = collected(tmp_path, results).tables
    ranks = {row.key: (row.cells["rank"].value, row.cells["rank"].missing) for row in table.rows}
    assert ranks == {"lora": (1, None), "krona": (576, None), "pa": (24, None), "full": (None, "")}
