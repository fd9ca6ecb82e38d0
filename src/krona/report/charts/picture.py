"""Combine a title, sentences and charts into a picture, which is one SVG file."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from krona.report.charts.chart import Chart
from krona.report.charts.draw import draw_points, draw_rows
from krona.report.charts.looks import INK, PAPER, SOFT, Look, dark_style
from krona.report.charts.scores import Scored
from krona.report.charts.svg import new_figure, to_svg

WIDTH = 760
LETTERS = 105  # the maximum number of characters in a line of text
LINE = 17  # the height of a line of text


@dataclass(frozen=True)
class RowChart:
    """A chart with one score and its intervals in each row. ``label`` is the label of the axis of scores."""

    label: str
    rows: Sequence[Scored]


Part = str | RowChart | Sequence[Chart]  # a sentence, a chart of rows, or charts side by side


def picture(title: str, parts: Iterable[Part], *, headings: bool = True) -> str:
    """Return the text of an SVG file with the parts below one another. With ``headings``, charts have their titles."""
    shown: list[Part] = [part for part in parts if part]
    heights = [34.0, *map(_height, shown)]
    with new_figure(WIDTH, sum(heights)) as figure:
        figure.patch.set(facecolor=PAPER.light)
        rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False, facecolor="none")[:, 0]
        rows[0].text(0.02, 0.5, title, fontsize=15, fontweight="bold", color=INK.light, va="center")
        for part, place in zip(shown, rows[1:], strict=True):
            _draw(place, part, headings=headings)
        return to_svg(figure, title, style=f"text{{font-family:system-ui,sans-serif}}{dark_style(_looks(shown))}")


def _height(part: Part) -> float:
    if isinstance(part, str):
        return LINE * len(textwrap.wrap(part, LETTERS)) + 6.0
    if isinstance(part, RowChart):
        return 30.0 * len(part.rows) + 54
    return 320.0 if len(part) == 1 else 240.0


def _draw(place: Any, part: Part, *, headings: bool) -> None:
    if isinstance(part, str):
        lines = "\n".join(textwrap.wrap(part, LETTERS))
        place.text(0.02, 0.5, lines, fontsize=12, color=SOFT.light, va="center")
    elif isinstance(part, RowChart):
        draw_rows(place.subplots(), part.label, part.rows)
    else:
        for axes, chart in zip(place.subplots(1, len(part), squeeze=False)[0], part, strict=True):
            draw_points(axes, chart)
            if headings:
                axes.set_title(chart.title, loc="left", fontsize=12, color=INK.light)


def _looks(parts: Iterable[Part]) -> list[Look]:
    found: list[Look] = []
    for part in parts:
        if isinstance(part, RowChart):
            found += [row.look for row in part.rows]
        elif not isinstance(part, str):
            found += [series.look for chart in part for series in chart.series]
    return found
