"""Test charts: axes, marks, tooltips, and equal bytes each time."""

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from krona.labels import method_labels, method_slot
from krona.report.charts import (
    Axis,
    Chart,
    Point,
    Series,
    dark_style,
    fit_ends,
    log_ticks,
    method_look,
    row_looks,
    score_axis,
    short,
    slot,
)
from krona.report.draw import draw, to_svg
from krona.report.table import Row, Table

SVG = "{http://www.w3.org/2000/svg}"


def marks(svg):
    """Return a dict from the tooltip of each mark to its position."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        title, use = group.find(f"{SVG}title"), next(group.iter(f"{SVG}use"), None)
        if title is not None and use is not None:
            found[title.text] = float(use.get("x")), float(use.get("y"))
    return found


def words(svg):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def chart(points, axis=None, **kwargs):
    series = [Series(name, method_look(name), [point]) for name, point in points.items()]
    return Chart("A chart", axis or Axis("cost"), score_axis("score", [*points.values()]), series, **kwargs)


def drawn(xs, axis):
    """Draw points at ``xs``. Return their horizontal positions and the texts of the chart."""
    svg = draw(chart({f"m{i}": Point(x, 70, text=f"{i}") for i, x in enumerate(xs)}, axis))
    return [x for x, _ in marks(svg).values()], words(svg)


def test_zero_has_a_position_on_a_logarithmic_axis():
    places, shown = drawn([0, 1e4, 1e6], Axis("multiply-adds", "log"))
    assert places[0] < places[1] - 10 < places[2]
    assert "0" in shown
    assert len(drawn([0, 0], Axis("all zero", "log"))[0]) == 2


@pytest.mark.parametrize("ends", [(0, 106), (-5, 85), (55, 61), (0.2, 0.9), (3, 3), (0, 0)])
def test_a_linear_axis_has_ticks_for_any_values(ends):
    _, shown = drawn(ends, Axis("cost"))
    assert len(shown) >= 5


def test_axes_of_a_decade_of_whole_numbers_and_of_named_ticks():
    places, shown = drawn([12_000, 13_000], Axis("parameters", "log"))
    assert places[1] - places[0] < 40, "a few percent are not drawn as a large difference"
    assert sum(word.endswith("k") for word in shown) >= 2
    assert {"1", "2", "3", "4"} <= set(drawn([1, 4], Axis("epoch", "whole"))[1])
    assert "2.5" not in drawn([2, 3], Axis("epoch", "whole"))[1]
    assert {"32x24", "2x384"} <= set(drawn([0, 1], Axis("shape", ticks=[(0, "32x24"), (1, "2x384")]))[1])


def test_numbers_of_ticks():
    values = (0, 0.05, 3e-4, 1e-5, -20, 158_208, 2_200_000)
    assert [short(value) for value in values] == ["0", "0.05", "0.0003", "1e−5", "−20", "158k", "2.2M"]
    assert [text for _, text in log_ticks([9_220, 19_200, 22_600_000])] == ["9.22k", "22.6M"]
    assert [text for _, text in log_ticks([0, 1e-3, 3e-3, 1e-2])] == ["0", "0.001", "0.003", "0.01"]


def test_the_axis_of_scores_fits_intervals_but_not_a_single_far_score():
    axis = score_axis("score", [Point(1, 70, (60, 120)), Point(2, 71)])
    assert axis.low < 60
    assert 100 < axis.high < 103, "an interval may reach beyond 100, scores do not"
    scores = {"lora": 80, "krona": 82, "bitfit": 84, "untuned": 20}
    found = marks(draw(chart({name: Point(i, score, text=name) for i, (name, score) in enumerate(scores.items())})))
    near = [found[name][1] for name in ("lora", "krona", "bitfit")]
    assert max(near) - min(near) > 100, "of 220: the low score does not squeeze the others"
    assert found["untuned"][1] > max(near)


def test_the_ends_of_an_axis_fit_its_values_and_a_label_stays_inside():
    low, high = fit_ends(70, 73, least=7.3)
    assert 66 < low < 70
    assert 73 < high < 77
    assert score_axis("score", [Point(i, score) for i, score in enumerate((70, 84, 87, 90))]).low < 70, "the range fits"
    points = {f"m{i}": Point(x, 70 + 5 * i, label=f"right {i}") for i, x in enumerate((1, 2))}
    svg = draw(chart(points))
    anchors = re.findall(r"text-anchor: (\w+)[^>]*>right (\d)", svg)
    assert [anchor for anchor, _ in anchors if anchor == "end"] == ["end"]


def test_names_at_the_ends_of_lines_are_moved_apart():
    series = [
        Series(name, method_look(name), [Point(1, 60, text="a"), Point(2, 70.1, text="b")], line=True, named=True)
        for name in ("lora", "krona", "pa")
    ]
    svg = draw(Chart("Lines", Axis("k", "whole"), score_axis("score", series[0].points), series))
    named = [text for text in ElementTree.fromstring(svg).iter(f"{SVG}text") if text.text in ("lora", "krona", "pa")]
    heights = sorted(float(text.get("y")) for text in named)
    assert all(b - a > 12 for a, b in itertools.pairwise(heights))


def test_the_same_chart_is_the_same_bytes_without_a_date():
    one = chart({"lora": Point(1, 70, (69, 71), "a"), "krona": Point(3, 80, text="b")})
    assert draw(one) == draw(one)
    assert not re.search("metadata|date|Matplotlib|font-family", draw(one))


def test_colors_follow_the_scheme_and_differ():
    every = {(one.light, one.mark) for one in map(method_look, method_labels())}
    assert len(every) == len(method_labels())
    assert slot("mine") == slot("mine") not in {method_slot(name) for name in method_labels()}
    rows = [Row(method) for method in ("krona", "lora", "krona")]
    same = row_looks(Table("", "", "", "", [], rows))
    assert same[0] != same[2]
    look = method_look("lora")
    assert f"fill: {look.light}" in draw(chart({"lora": Point(1, 70, text="a"), "pa": Point(2, 71, text="b")}))
    style = dark_style([look])
    assert f'[style*="fill: {look.light}"]{{fill:{look.dark}!important}}' in style
    assert not re.search(r"\w \[", style)  # in the copies of <use>, no element is a descendant of the chart


@pytest.mark.parametrize("order", [None, 16, 40])
def test_a_new_method_gets_a_colour_that_no_other_row_has(
    order: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LoRA has the order 4, and there are twelve colours, so 16 and 40 would be LoRA's colour."""
    folder = tmp_path / "conf" / "method"
    folder.mkdir(parents=True)
    line = "" if order is None else f"  order: {order}\n"
    (folder / "mine.yaml").write_text(f"# @package _global_\nmethod:\n  name: mine\n{line}")
    monkeypatch.chdir(tmp_path)
    shown = [*method_labels()][:11]
    alone = {method: method_look(method) for method in shown}
    looks = {method: method_look(method, among=[*shown, "mine"]) for method in [*shown, "mine"]}
    assert len({look.light for look in looks.values()}) == 12
    assert {method: looks[method] for method in shown} == alone, "the paper's methods keep their colours"
    every = [*method_labels()]
    assert len({(look.light, look.mark) for look in (method_look(one, among=every) for one in every)}) >= 30


def test_labels_that_leave_no_space_are_drawn_without_a_warning() -> None:
    figure = Figure(figsize=(1, 1), layout="constrained")
    figure.subplots().set_ylabel("score", labelpad=500)
    assert "<!-- score -->" in to_svg(figure, "a chart")
