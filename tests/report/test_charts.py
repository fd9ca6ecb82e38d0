"""Charts: axes, marks, tooltips, and the same bytes each time."""

import itertools
import re
from xml.etree import ElementTree

import pytest

from krona.paper import METHOD_LABELS
from krona.report.charts import looks
from krona.report.charts.axes import linear_axis, log_axis, named_axis, score_axis, short, whole_axis
from krona.report.charts.draw import Chart, Point, Series, draw
from krona.report.charts.picture import picture

SVG = "{http://www.w3.org/2000/svg}"


def marks(svg):
    """Tooltip → position of each mark."""
    uses = ElementTree.fromstring(svg).iter(f"{SVG}use")
    return {use.find(f"{SVG}title").text: (float(use.get("x")), float(use.get("y"))) for use in uses}


def words(svg):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def chart(points, axis=None, **kwargs):
    series = [Series(name, looks.method_look(name), [point]) for name, point in points.items()]
    ends = [point.ends for point in points.values() if point.ends]
    axis = axis or linear_axis("cost", [point.x for point in points.values()])
    return Chart("A chart", axis, score_axis("score", [point.y for point in points.values()], ends), series, **kwargs)


def test_zero_has_a_place_of_its_own_on_a_logarithmic_axis():
    axis = log_axis("multiply-adds", [0, 1e4, 1e6])
    places = [axis.place(value) for value in (0, 1e4, 1e6)]
    assert axis.low < places[0] < places[1] - 0.1 < places[2] < axis.high
    assert axis.ticks[0] == (places[0], "0")
    assert log_axis("all zero", [0, 0]).place(0) >= log_axis("all zero", [0, 0]).low


@pytest.mark.parametrize("ends", [(0, 106), (-5, 85), (55, 61), (0.2, 0.9), (3, 3), (0, 0)])
def test_a_linear_axis_has_round_ticks_that_lie_on_it(ends):
    axis = linear_axis("score", ends)
    assert len(axis.ticks) >= 3
    assert all(axis.low <= place <= axis.high for place, _ in axis.ticks)


def test_a_logarithmic_axis_is_a_decade_long_at_least_and_whole_numbers_are_whole():
    axis = log_axis("parameters", [12_000, 13_000])
    assert axis.high - axis.low >= 1
    assert len(axis.ticks) >= 2
    assert [text for _, text in whole_axis("epoch", [1, 4]).ticks] == ["1", "2", "3", "4"]
    assert len(whole_axis("epoch", [2, 2]).ticks) == 1
    assert len(named_axis("shape", [str(i) for i in range(60)]).ticks) == 20


def test_numbers_of_ticks():
    values = (0, 0.05, 3e-4, -20, 158_208, 2_200_000, 0.01)
    assert [short(value) for value in values] == ["0", "0.05", "3e−4", "−20", "158k", "2.2M", "0.01"]


def test_marks_have_tooltips_and_lie_where_their_values_are():
    found = marks(draw(chart({"lora": Point(1, 70, text="LoRA: 70"), "krona": Point(3, 80, text="<KronA>: 80")})))
    (x1, y1), (x2, y2) = found["LoRA: 70"], found["<KronA>: 80"]
    assert x1 < x2
    assert y1 > y2


def test_an_interval_beyond_the_axis_ends_in_an_arrow_and_a_far_score_is_an_arrow():
    points = {"lora": Point(1, 70, (-60, 200), "a"), "krona": Point(2, 71, (70.9, 71.1), "b")}
    assert draw(chart(points)).count("beyond the axis") == 2, "both ends of LoRA's"
    scores = {"lora": 80, "krona": 82, "bitfit": 84, "untuned": 20}
    points = {name: Point(i, score, text=name) for i, (name, score) in enumerate(scores.items())}
    found = marks(draw(chart(points)))
    near = [found[name][1] for name in ("lora", "krona", "bitfit")]
    assert max(near) - min(near) > 100, "of 220: the low score does not squeeze the others"
    assert found["untuned"][1] > max(near)


def test_labels_cover_neither_points_nor_each_other():
    points = {f"m{i}": Point(10, 70 + i / 50, text=f"p{i}", label=f"label {i}") for i in range(6)}
    svg = draw(chart(points, linear_axis("cost", [0, 20])))
    root = ElementTree.fromstring(svg)
    labels = [text for text in root.iter(f"{SVG}text") if "label" in "".join(text.itertext())]
    heights = sorted(float(text.get("y")) for text in labels)
    assert 0 < len(labels) <= 6
    lefts = {round(float(text.get("x")), 1) for text in labels}
    assert len(lefts) > 1 or all(b - a > 10 for a, b in itertools.pairwise(heights))


def test_names_at_the_ends_of_lines_are_moved_apart():
    series = [
        Series(name, looks.method_look(name), [Point(1, 60, text="a"), Point(2, 70.1, text="b")], line=True, named=True)
        for name in ("lora", "krona", "pa")
    ]
    svg = draw(Chart("Lines", whole_axis("k", [1, 2]), score_axis("score", [60, 70.1], []), series))
    named = [text for text in ElementTree.fromstring(svg).iter(f"{SVG}text") if text.text in ("lora", "krona", "pa")]
    heights = sorted(float(text.get("y")) for text in named)
    assert [round(b - a) for a, b in itertools.pairwise(heights)] == [15, 15]


def test_the_same_chart_is_the_same_bytes_without_a_date():
    one = chart({"lora": Point(1, 70, (69, 71), "a"), "krona": Point(3, 80, text="b")})
    assert draw(one) == draw(one)
    assert not re.search("metadata|date|Matplotlib|font-family", draw(one))


def test_colors_are_legible_follow_the_scheme_and_differ():
    def luminance(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one, other):
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    for light, dark in zip(looks.LIGHT, looks.DARK, strict=True):
        assert min(contrast(light, "#ffffff"), contrast(light, "#000000")) > 2.8
        assert contrast(dark, looks.PAPER.dark) > 4.5
    every = {(one.light, one.mark) for one in map(looks.method_look, METHOD_LABELS)}
    assert len(every) == len(METHOD_LABELS)
    assert looks.slot("mine") == looks.slot("mine") >= len(METHOD_LABELS)
    same = looks.row_looks(["krona", "lora", "krona"])
    assert same[0] != same[2]
    look = looks.method_look("lora")
    assert f"fill: {look.light}" in draw(chart({"lora": Point(1, 70, text="a"), "pa": Point(2, 71, text="b")}))
    assert f'[style*="fill: {look.light}"]{{fill:{look.dark}!important}}' in looks.dark_style([look])


def test_a_picture_is_one_file_with_its_words_and_charts():
    inner = chart({"lora": Point(1, 70, text="a"), "pa": Point(2, 71, text="b")})
    text = picture("A <title>", ["A sentence. " * 20, [inner, inner]])
    root = ElementTree.fromstring(text)
    assert len(root.findall(f"{SVG}svg")) == 2
    assert "A <title>" in words(text)
    assert sum("A sentence." in word for word in words(text)) > 1, "broken into lines"
    height = float(root.get("viewBox").split()[3])
    assert all(float(one.get("y")) + float(one.get("height")) <= height for one in root.findall(f"{SVG}svg"))
