"""Test charts: axes, marks, tooltips, and equal bytes each time."""

import re
from xml.etree import ElementTree

import pandas as pd
import pytest
from matplotlib.figure import Figure

from krona.display_names import method_labels
from krona.report.charts import (
    BETTER,
    PAPER,
    WORSE,
    cost_charts,
    draw_differences,
    draw_swept,
    draw_table_differences,
    find_swept,
    score_frame,
    short,
    to_svg,
)
from krona.report.text import PAGE, method_style
from report.generate import collected, grid, make_result, with_score

SVG = "{http://www.w3.org/2000/svg}"


def marks(svg):
    """Return the position of each mark by its tooltip."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        title, use = group.find(f"{SVG}title"), next(group.iter(f"{SVG}use"), None)
        if title is not None and use is not None:
            found[title.text] = float(use.get("x")), float(use.get("y"))
    return found


def words(svg):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def scores(tmp_path, values, *, costs=None, change=None):
    """Return the table and the frame of a report with these scores by method on RTE, without predictions."""
    results = []
    for method, score in values.items():
        result = with_score(make_result(method, "rte", rows=40), score)
        result.times["train"] = (costs or {}).get(method, 10.0)
        result.trainable_params = {"full": 222_903_552, "untuned": 0}.get(method, 158_208)
        results.append(result)
    (table,) = collected(tmp_path, results).tables
    return table, table.score_columns[0], score_frame(table, table.score_columns[0])


def test_the_chart_of_differences_has_zero_a_band_and_significance_by_form_and_colour():
    lines = [
        ("KronA", "LoRA", 3.3, -0.9, 7.4, 0.12, 5.9),
        ("C3A", "LoRA", -3.5, -5.2, -1.9, 0.004, 2.4),
        ("PA", "LoRA", 5.0, 3.0, 7.0, 0.004, 2.5),
    ]
    names = ["row", "reference", "difference", "low", "high", "p_reference", "detectable"]
    figure = draw_differences(pd.DataFrame(lines, columns=names), "RTE")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["PA", "KronA", "C3A"], "sorted"
    bands = {round(bar.get_y() + bar.get_height() / 2): (bar.get_x(), bar.get_width()) for bar in axes.patches}
    assert bands == {0: (-2.5, 5.0), 1: (-5.9, 11.8), 2: (-2.4, 4.8)}
    assert any({*line.get_xdata()} == {0} for line in axes.lines), "a line at zero"
    drawn = {line.get_xdata()[0]: line for line in axes.lines if len(line.get_xdata()) == 1}
    assert {x: (line.get_marker(), line.get_color() in (BETTER, WORSE)) for x, line in drawn.items()} == {
        3.3: ("o", False), -3.5: ("<", True), 5.0: (">", True),
    }  # fmt: skip
    svg = to_svg(figure, "a chart")
    assert "KronA − LoRA: +3.3 (−0.9…+7.4), p (Holm) 0.12" in marks(svg)
    assert {"+3.3", "−3.5", "+5.0"} <= {*words(svg)}


def test_the_differences_of_a_report_have_a_chart_for_the_mean_and_for_each_task(tmp_path):
    (table,) = collected(tmp_path, grid(["lora", "krona", "full"], ["rte", "cola"], [0, 1, 2], rows=80)).tables
    charts = draw_table_differences(table, 12)
    labels = [chart.get_label() for chart in charts]
    assert labels == ["Mean of 2: difference to LoRA", "CoLA: difference to LoRA", "RTE: difference to LoRA"]
    rows = [[text.get_text() for text in chart.axes[0].get_yticklabels()] for chart in charts]
    assert rows[0] == rows[1] == rows[2], "all charts have the same order"
    frame = table.reference_pairs
    mean = frame[frame["column"] == "avg"].sort_values("difference", ascending=False)
    assert rows[0] == [*mean["row"]]


def test_charts_write_the_labels_of_variants_without_markup(tmp_path):
    results = [make_result("krona_b", "rte", seed, rows=80, change={"optimizer.lr": rate})
               for seed in range(3) for rate in (1e-3, 2e-3)]  # fmt: skip
    (table,) = collected(
        tmp_path, [*results, *grid(["lora"], ["rte"], rows=80)], baseline="KronA^B (optimizer.lr=0.001)"
    ).tables
    names = {*score_frame(table, table.score_columns[0]).name}
    assert names == {"LoRA", "KronAᴮ (lr=0.001)", "KronAᴮ (lr=0.002)"}
    (chart,) = draw_table_differences(table, 12)
    assert {text.get_text() for text in chart.axes[0].get_yticklabels()} == names - {"KronAᴮ (lr=0.001)"}


def test_the_label_of_a_point_has_every_setting_that_differs(tmp_path):
    results = [make_result("krona", "rte", rows=40, change={"method.kron_factors": shape, "optimizer.lr": rate})
               for shape in ([[2, 384]], [[12, 64]]) for rate in (0.01, 0.003)]  # fmt: skip
    (table,) = collected(tmp_path, results).tables
    labels = {*score_frame(table, table.score_columns[0]).name}
    assert labels == {f"KronA (kron_factors={shape}, lr={lr})" for shape in ("2x384", "12x64") for lr in (0.01, 0.003)}


def test_cost_axes_start_at_zero_and_similar_costs_have_no_chart(tmp_path):
    times = {"lora": 21.0, "krona": 23.0, "full": 24.0}
    table, column, frame = scores(tmp_path, {"lora": 70.0, "krona": 71.0, "full": 72.0}, costs=times)
    (params,) = cost_charts(table, column, frame)
    assert params.get_label() == "Score against trainable parameters"
    assert params.axes[0].get_xscale() == "symlog"
    table, column, frame = scores(tmp_path / "two", {"lora": 70.0, "krona": 71.0}, costs={"lora": 21.0, "krona": 42.0})
    (time,) = (chart for chart in cost_charts(table, column, frame) if "time" in chart.get_label())
    assert time.axes[0].get_xlim()[0] == 0


def test_marks_are_hollow_if_one_row_is_better_and_cheaper_than_all_others(tmp_path):
    results = [make_result(name, "rte", rows=400, skill=skill) for name, skill in (("lora", 0.95), ("full", 0.3))]
    (table,) = collected(tmp_path, results).tables
    frame = score_frame(table, table.score_columns[0])
    (chart, *_) = cost_charts(table, table.score_columns[0], frame)
    hollow = [line.get_markerfacecolor() == PAPER for line in chart.axes[0].lines]
    assert dict(zip(frame.method, hollow, strict=True)) == {"full": True, "lora": False}


def test_zero_has_a_position_on_the_axis_of_parameters(tmp_path):
    table, column, frame = scores(tmp_path, {"untuned": 55.0, "lora": 70.0, "full": 72.0})
    chart = cost_charts(table, column, frame)[0]
    svg = to_svg(chart, "a chart")
    left, middle, right = sorted(x for x, _ in marks(svg).values())
    assert left < middle - 10 < right
    assert "0" in words(svg)


@pytest.mark.parametrize("key", ["method.kron_factors", "optimizer.lr"])
def test_a_sweep_over_shapes_or_rates_has_a_chart_of_the_score_against_it(key, tmp_path):
    values = (
        ([[2, 384], [384, 2]], [[12, 64], [64, 12]], [[96, 8], [8, 96]]) if "factors" in key else (1e-4, 1e-3, 1e-2)
    )
    results = [make_result("krona", "rte", seed, rows=40, change={key: value}) for value in values for seed in (0, 1)]
    (table,) = collected(tmp_path, results).tables
    column = table.score_columns[0]
    frame = score_frame(table, column)
    assert find_swept(frame) == key
    chart = draw_swept(frame, column, key)
    shown = [text.get_text() for text in chart.axes[0].get_xticklabels()]
    assert shown == (["2x384", "12x64", "96x8"] if "factors" in key else ["0.0001", "0.001", "0.01"])
    assert len([line for line in chart.axes[0].lines if len(line.get_xdata()) == 1]) == 3


def test_a_sweep_over_shapes_whose_row_is_stored_has_its_chart(tmp_path):
    """A stored row has the texts of the command line."""
    results = []
    for a, b in ((2, 384), (12, 64), (96, 8)):
        result = make_result("krona", "rte", rows=40, sweep="s", change={"method.kron_factors": [[a, b], [b, a]]})
        text = f"[[{a},{b}]]"
        result.row = {"label": f"KronA (kron_factors={text})", "settings": {"method.kron_factors": text}}
        results.append(result)
    (table,) = collected(tmp_path, results).tables
    assert [row.settings for row in table.rows] == [{"method.kron_factors": f"{a}"} for a in ("2x384", "12x64", "96x8")]
    assert find_swept(score_frame(table, table.score_columns[0])) == "method.kron_factors"


def test_rows_with_several_differing_settings_have_no_chart_of_one_of_them():
    settings = [{"lr": lr, "rank": rank} for lr in ("1", "2", "3") for rank in ("4", "8")]
    assert find_swept(pd.DataFrame({"label": "LoRA", "settings": settings})) is None


def test_numbers_of_ticks():
    values = (0, 0.05, 3e-4, 1e-5, -20, 158_208, 2_200_000)
    assert [short(value) for value in values] == ["0", "0.05", "0.0003", "1e−5", "−20", "158k", "2.2M"]


def test_the_same_chart_is_the_same_bytes_without_a_date(tmp_path):
    table, column, frame = scores(tmp_path, {"lora": 70.0, "full": 80.0})
    one, two = (to_svg(cost_charts(table, column, frame)[0], "a chart") for _ in range(2))
    assert one == two
    assert not re.search("metadata|date|Matplotlib|font-family", one)
    assert "fill: var(--ink)" in one
    assert not re.search("|".join(PAGE.values()), one), "the page sets these colours, which differ on dark pages"


def test_the_methods_of_a_report_have_styles_of_their_own():
    methods = [*method_labels(), "mine"]
    styles = [method_style(method, among=methods) for method in methods[:12]]
    assert len({style.color for style in styles}) == 12
    every = {(style.color, style.mark) for style in (method_style(method, among=methods) for method in methods)}
    assert len(every) == min(len(methods), 84)


def test_labels_that_leave_no_space_are_drawn_without_a_warning() -> None:
    figure = Figure(figsize=(1, 1), layout="constrained")
    figure.subplots().set_ylabel("score", labelpad=500)
    assert ">score<" in to_svg(figure, "a chart")
