"""A chart with a row for each method: its score, the interval over seeds and the interval over test sets."""

from collections.abc import Sequence
from dataclasses import dataclass

from krona.report.charts.axes import Interval, score_axis
from krona.report.charts.canvas import Canvas, canvas, to_svg
from krona.report.charts.looks import GRID, INK, SOFT, Look

STEP, LETTER = 30, 6.6  # height of a row and mean width of a letter
RING = Look("#c47a00", "#efb118")  # of the paper's numbers


@dataclass(frozen=True)
class ScoreRow:
    """``shown``: the text beside the row; ``paper``: the paper's score."""

    name: str
    detail: str
    look: Look
    value: float
    seeds: Interval | None
    test: Interval | None
    paper: float | None
    shown: str
    bold: bool


@dataclass(frozen=True)
class RowChart:
    """``label``: of the axis of scores."""

    title: str
    label: str
    rows: Sequence[ScoreRow]


def draw_rows(chart: RowChart, *, width: float) -> tuple[str, float]:
    """Return the chart as an SVG element, and its height."""
    rows, height = chart.rows, STEP * len(chart.rows) + 46.0
    values = [value for row in rows for value in (row.value, row.paper) if value is not None]
    axis = score_axis(chart.label, values, [ends for row in rows for ends in (row.seeds, row.test) if ends])
    left = min(width / 2, 28 + max(LETTER * len(row.name) + 5 * len(row.detail) for row in rows))
    right = 24 + 7 * max(len(row.shown) for row in rows)
    with canvas(width, height, (left, right, 4, 42)) as on:
        on.axes.set_xlim(axis.low, axis.high)
        on.axes.set_ylim(len(rows) - 0.5, -0.5)
        on.axes.set_xticks([place for place, _ in axis.ticks], [text for _, text in axis.ticks])
        on.axes.set_yticks([])
        on.axes.grid(axis="x", color=GRID.light, linewidth=0.9)
        on.axes.set_axisbelow(True)
        on.axes.set_xlabel(axis.label, labelpad=8)
        for place, row in enumerate(rows):
            for ends, at, thick, alpha in ((row.test, place + 0.22, 2.6, 0.4), (row.seeds, place, 3.6, 1.0)):
                if ends is not None and axis.beyond(ends[1]) >= 0:
                    low, high = map(axis.clamp, ends)
                    on.axes.hlines(at, low, high, color=row.look.light, linewidth=thick, alpha=alpha, gid="interval")
                    for end, mark in ((ends[0], "<"), (ends[1], ">")):
                        if axis.beyond(end):
                            on.arrow((axis.clamp(end), at), mark, row.look)
            mark = {-1: "<", 0: row.look.mark, 1: ">"}[axis.beyond(row.value)]
            on.marks([(axis.clamp(row.value), place)], [f"{row.name}: {row.shown}"], row.look, marker=mark)
            if row.paper is not None:
                on.marks([(row.paper, place)], [f"the paper: {row.paper:.2f}"], RING, marker="o", markersize=11,
                         markerfacecolor="none")  # fmt: skip
            _write(on, row, place, ((8 - left) / (width - left - right), 1 + 12 / (width - left - right)))
        return to_svg(on, chart.title), height


def _write(on: Canvas, row: ScoreRow, place: float, sides: tuple[float, float]) -> None:
    """Write the name on the left and the score on the right; positions as shares of the axes' width."""
    style = {"xycoords": ("axes fraction", "data"), "va": "center", "annotation_clip": False}
    on.axes.annotate(row.name, (sides[0], place), color=INK.light, fontsize=12, **style)
    offset = {"xytext": (LETTER * len(row.name) + 7, 0), "textcoords": "offset points"}
    on.axes.annotate(row.detail, (sides[0], place), color=SOFT.light, fontsize=9, **style, **offset)
    on.axes.annotate(row.shown, (sides[1], place), color=INK.light, fontsize=12,
                     fontweight="bold" if row.bold else "normal", **style)  # fmt: skip
