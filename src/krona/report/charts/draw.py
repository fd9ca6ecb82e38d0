"""Draw a chart of points and lines as an SVG element."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from krona.report.charts.axes import ChartAxis, Interval
from krona.report.charts.canvas import Canvas, canvas, to_svg
from krona.report.charts.looks import GRID, INK, PAPER, SOFT, Look

Marks = Literal["all", "last", "none"]
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 46  # margins around the axes
LETTER = 6.6  # mean width of a letter of a label
LABEL_OFFSETS = ((8, 6), (8, -14), (-8, 6), (-8, -14), (8, 20), (-8, 20))  # of a label from its point


@dataclass(frozen=True)
class Point:
    """``ends``: an interval around ``y``; ``text``: the tooltip; ``label``: shown beside the point."""

    x: float
    y: float
    ends: Interval | None = None
    text: str = ""
    label: str = ""
    hollow: bool = False


@dataclass(frozen=True, eq=False)
class Series:
    """Points of one look.

    line: join them; band: draw the intervals as an area. marks: at all points, large at the last and small at the
    others, or none. named: write the name at the end of the line.
    """

    name: str
    look: Look
    points: Sequence[Point]
    line: bool = False
    band: bool = False
    marks: Marks = "all"
    named: bool = False


@dataclass(frozen=True)
class Chart:
    """``front``: points that are joined by steps, in ascending order of x."""

    title: str
    x: ChartAxis
    y: ChartAxis
    series: Sequence[Series]
    detail: str = ""
    front: Sequence[Point] = ()


def draw(chart: Chart, *, width: float = 440, height: float = 280, heading: bool = False) -> str:
    """Return the chart as an SVG element. `looks.dark_style` gives its colors on a dark page.

    heading: write the title above the axes.
    """
    top = TOP + 18 * heading
    names = [one.name for one in chart.series if one.named]
    right = RIGHT + max((LETTER * len(name) + 12 for name in names), default=0)
    longest = max((len(text) for _, text in chart.x.ticks), default=0)
    slanted = len(chart.x.ticks) * longest * LETTER > width - LEFT - right
    bottom = BOTTOM + (LETTER * longest * 0.75 - 6 if slanted else 0)
    with canvas(width, height, (LEFT, right, top, bottom)) as on:
        axes = on.axes
        axes.set_xlim(chart.x.low, chart.x.high)
        axes.set_ylim(chart.y.low, chart.y.high)
        turned = {"rotation": 50, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
        axes.set_xticks(*_split(chart.x.ticks), **turned)
        axes.set_yticks(*_split(chart.y.ticks))
        axes.grid(axis="y", color=GRID.light, linewidth=0.9)
        axes.set_axisbelow(True)
        axes.set_xlabel(chart.x.label, labelpad=8)
        axes.set_ylabel(chart.y.label)
        axes.yaxis.set_label_coords(-44 / (width - LEFT - right), 0.5)
        if heading:
            room = int(width / LETTER)
            shown = chart.title if len(chart.title) <= room else f"…{chart.title[1 - room :]}"
            axes.annotate(shown, (0, height - bottom - 12), xycoords="axes points", color=INK.light)
        _draw_front(on, chart)
        bars = [one for one in chart.series if one.line and not one.band and any(point.ends for point in one.points)]
        unit = (chart.x.high - chart.x.low) / (width - LEFT - right)
        for series in chart.series:
            shift = 3 * unit * (bars.index(series) - (len(bars) - 1) / 2) if series in bars else 0.0
            _draw_series(on, chart, series, shift)
        _draw_names(on, chart, height - top - bottom)
        _draw_labels(on, chart, (width - LEFT - right, height - top - bottom))
        return to_svg(on, chart.title)


def _split(ticks: Sequence[tuple[float, str]]) -> tuple[list[float], list[str]]:
    return [place for place, _ in ticks], [text for _, text in ticks]


def _draw_front(on: Canvas, chart: Chart) -> None:
    if len(chart.front) > 1:
        xs, ys = [chart.x.place(one.x) for one in chart.front], [chart.y.clamp(one.y) for one in chart.front]
        on.axes.step(xs, ys, where="post", color=SOFT.light, linewidth=1.1, linestyle=(0, (5, 3)), gid="front")


def _draw_series(on: Canvas, chart: Chart, series: Series, shift: float) -> None:
    """Draw a series; shift: to the right, so that the intervals of several lines stand side by side."""
    look, points = series.look, series.points
    xs, ys = [chart.x.place(one.x) + shift for one in points], [chart.y.clamp(one.y) for one in points]
    if series.band:
        ends = [[chart.y.clamp(end) for end in one.ends or (one.y, one.y)] for one in points]
        on.axes.fill_between(xs, *zip(*ends, strict=True), color=look.light, alpha=0.12, linewidth=0)
    else:
        _draw_intervals(on, chart, series, xs)
    if series.line and len(points) > 1:
        on.line(xs, ys, series.name, look)
    if series.marks == "none":
        return
    size = 3 if series.marks == "last" else 7
    for beyond, hollow in sorted({(chart.y.beyond(one.y), one.hollow) for one in points}):
        group = [i for i, one in enumerate(points) if (chart.y.beyond(one.y), one.hollow) == (beyond, hollow)]
        fill = {"markerfacecolor": PAPER.light} if hollow else {}
        on.marks([(xs[i], ys[i]) for i in group], [points[i].text for i in group], look, markersize=size,
                 marker={-1: "v", 0: look.mark, 1: "^"}[beyond], **fill)  # fmt: skip
    if series.marks == "last":
        on.marks([(xs[-1], ys[-1])], [points[-1].text], look)


def _draw_intervals(on: Canvas, chart: Chart, series: Series, xs: Sequence[float]) -> None:
    for x, point in zip(xs, series.points, strict=True):
        if point.ends is None or chart.y.beyond(point.y):
            continue
        low, high = map(chart.y.clamp, point.ends)
        on.axes.vlines(x, low, high, color=series.look.light, linewidth=1.4, alpha=0.65, gid="interval")
        if chart.y.beyond(point.ends[0]) < 0:
            on.arrow((x, low), "v", series.look)
        if chart.y.beyond(point.ends[1]) > 0:
            on.arrow((x, high), "^", series.look)


def _draw_names(on: Canvas, chart: Chart, height: float) -> None:
    """Write the names of lines behind their ends, moved so that none covers another."""
    unit = (chart.y.high - chart.y.low) / height
    ends = {one: chart.y.clamp(one.points[-1].y) for one in chart.series if one.named}
    last = chart.y.low - 20 * unit
    for series, y in sorted(ends.items(), key=lambda one: one[1]):
        last = max(y, last + 15 * unit)
        on.axes.annotate(
            series.name, (chart.x.high, last), xytext=(8, 0), textcoords="offset points", va="center",
            color=series.look.light, fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def _draw_labels(on: Canvas, chart: Chart, size: tuple[float, float]) -> None:
    """Write labels beside their points where they cover no point and no other label."""
    across, up = size[0] / (chart.x.high - chart.x.low), size[1] / (chart.y.high - chart.y.low)
    points = [point for one in chart.series for point in one.points]
    spots = {
        id(point): ((chart.x.place(point.x) - chart.x.low) * across, (chart.y.clamp(point.y) - chart.y.low) * up)
        for point in points
    }
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots.values()]
    for point in points:
        if not point.label:
            continue
        x, y = spots[id(point)]
        width = LETTER * len(point.label)
        for right, above in LABEL_OFFSETS:
            left = x + right if right > 0 else x + right - width
            box = (left, y + above - 2, left + width, y + above + 10)
            if box[0] >= -LEFT / 2 and box[2] <= size[0] + RIGHT and not any(_overlap(box, one) for one in taken):
                on.axes.annotate(
                    point.label, (left, y + above), xycoords=("axes points"), color=INK.light, fontsize=11,
                    annotation_clip=False,
                )  # fmt: skip
                taken.append(box)
                break


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
