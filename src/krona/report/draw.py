"""Draw charts with matplotlib.

A chart is an SVG element with tooltips. CSS can change its colours on a dark page.
"""

import html
import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import matplotlib
from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation

from krona.messages import visible
from krona.report.charts import GRID, INK, PAPER, SOFT, Axis, Chart, Look, Point, Scored, Series, score_axis, short

RING = Look("#c47a00", "#efb118")  # the ring around the paper's number
NAME_HEIGHT = 0.075  # the height of a name, as a share of the axis
MAX_LETTERS = 60  # tick labels with more letters than this in total are rotated
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "krona", "font.size": 12, "lines.solid_capstyle": "butt",
    "axes.labelcolor": INK.light, "xtick.color": SOFT.light, "ytick.color": SOFT.light, "text.parse_math": False,
}  # fmt: skip
TIP = "tip:"
NEEDLESS = (  # parts of matplotlib's SVG to remove: they would change the page's style, or differ between two runs
    r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<clipPath.*?</clipPath>", r"<defs>\s*</defs>",
    r' clip-path="[^"]*"', r' transform="rotate\(-0 [^"]*"', r" font-family: [^;\"]*;?",
    r' id="(?!m[0-9a-f]{10}")[^"]*"',
)  # fmt: skip


@matplotlib.rc_context(STYLE)
def draw(chart: Chart, *, width: float = 440, height: float = 280) -> str:
    """Return the chart as an SVG element of ``width`` by ``height`` points."""
    figure, axes = _new_figure(width, height, grid="y")
    points = [point for series in chart.series for point in series.points]
    if len(chart.front) > 1:
        xs, ys = [one.x for one in chart.front], [one.y for one in chart.front]
        axes.step(xs, ys, where="post", color=SOFT.light, linewidth=1.1, linestyle=(0, (5, 3)), gid="front")
    bars = [one for one in chart.series if one.line and not one.band and any(point.ends for point in one.points)]
    for series in chart.series:
        shift = 3 * (bars.index(series) - (len(bars) - 1) / 2) if series in bars else 0
        _draw_series(axes, series, chart.y.low, shift)
    _set_axis(axes, "x", chart.x, [point.x for point in points])
    _set_axis(axes, "y", chart.y, [point.y for point in points])
    _draw_names(axes, [one for one in chart.series if one.named])
    _draw_labels(axes, points)
    return to_svg(figure, chart.title)


@matplotlib.rc_context(STYLE)
def draw_scores(rows: Sequence[Scored], label: str) -> str:
    """Return an SVG element with one row per score, including its intervals over seeds and over test rows."""
    figure, axes = _new_figure(560, 30 * len(rows) + 54, grid="x")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    names = [f"{row.name} {row.row.differs}".strip() for row in rows]
    axes.set_yticks(range(len(names)), names, color=INK.light)
    axes.set_xlabel(label)
    points = [Point(0, row.score, ends) for row in rows for ends in (row.cell.seed_interval, row.cell.test_interval)]
    points += [Point(0, row.cell.paper) for row in rows if row.cell.paper is not None]
    axis = score_axis(label, points)
    axes.set_xlim(axis.low, axis.high)
    left = axis.low or 0.0
    for place, row in enumerate(rows):
        cell, color = row.cell, row.look.light
        for ends, at, thick, alpha in (
            (cell.test_interval, place + 0.22, 2.6, 0.4),
            (cell.seed_interval, place, 3.6, 1.0),
        ):
            if ends is not None:
                axes.hlines(at, *ends, color=color, linewidth=thick, alpha=alpha, gid="interval")
        mark = Point(max(row.score, left), place, text=f"{row.name}: {row.shown}")
        _draw_mark(axes, mark, row.look, marker="<" if row.score < mark.x else row.look.mark)
        if cell.paper is not None:
            ring = {"marker": "o", "markersize": 11, "markerfacecolor": "none"}
            _draw_mark(axes, Point(cell.paper, place, text=f"the paper: {cell.paper:.2f}"), RING, **ring)
        _write_beside(
            axes, row.shown, place, color=INK.light, fontweight="bold" if cell.best or cell.tied else "normal"
        )
    return to_svg(figure, label)


def _write_beside(axes: Any, text: str, y: float, **style: Any) -> None:
    place = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "annotation_clip": False}
    axes.annotate(text, (1, y), xycoords=("axes fraction", "data"), **place, **style)


def _new_figure(width: float, height: float, *, grid: Literal["x", "y"]) -> tuple[Any, Any]:
    figure: Any = Figure(figsize=(width / 72, height / 72))
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.06)
    axes = figure.subplots()
    axes.patch.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=6)
    axes.grid(axis=grid, color=GRID.light, linewidth=0.9)
    axes.set_axisbelow(True)
    return figure, axes


def _set_axis(axes: Any, side: Literal["x", "y"], axis: Axis, values: Sequence[float]) -> None:
    one, low, high = getattr(axes, f"{side}axis"), axis.low, axis.high
    one.set_label_text(axis.label)
    one.labelpad = 7
    if axis.scale == "log":
        positive = [value for value in values if value > 0] or [1.0]
        pad = max(1.15, (10 * min(positive) / max(positive)) ** 0.5)  # the axis covers at least a decade
        low, high = low or min(positive) / pad, high or max(positive) * pad
        subs = (1, 2, 5) if high < 300 * low else (1,)
        if subs == (1,) and axis.low is None:
            low = 10 ** math.floor(math.log10(low))  # so that there is a tick below the lowest value
        if min(values) > 0:
            axes.set(**{f"{side}scale": "log"})
            one.set_major_locator(ticker.LogLocator(subs=subs))
        else:
            getattr(axes, f"set_{side}scale")("symlog", linthresh=low, linscale=0.3)
            one.set_major_locator(ticker.SymmetricalLogLocator(one.get_transform(), subs=subs))
            low = -low / 2
        one.set_minor_locator(ticker.NullLocator())
    else:
        one.set_major_locator(ticker.MaxNLocator(6, integer=axis.scale == "whole", steps=[1, 2, 2.5, 5, 10]))
    one.set_major_formatter(lambda value, _: short(value))
    if axis.ticks:
        one.set_ticks([value for value, _ in axis.ticks], [text for _, text in axis.ticks])
        length = sum(len(text) + 1 for _, text in axis.ticks)
        one.set_tick_params(rotation=40 if side == "x" and length > MAX_LETTERS else 0)
    axes.set(**{f"{side}lim": (low, high)})


def _draw_series(axes: Any, series: Series, bottom: float | None, shift: float) -> None:
    """Draw a series. A point below ``bottom`` is drawn as a triangle at ``bottom``.

    The intervals are moved to the right by ``shift`` points, so that the intervals of several lines stay visible.
    """
    look, points = series.look, series.points
    xs, ys = [one.x for one in points], [one.y for one in points]
    if series.line and len(points) > 1:
        style = {"linewidth": 1.8, "linestyle": look.dash, "gid": tooltip(series.name)}
        axes.plot(xs, ys, color=look.light, clip_on=False, **style)
    if series.band:
        ends = [one.ends or (one.y, one.y) for one in points]
        axes.fill_between(xs, *zip(*ends, strict=True), color=look.light, alpha=0.12, linewidth=0)
    moved = axes.transData + ScaledTranslation(shift / 72, 0, axes.figure.dpi_scale_trans)
    for point in points:
        far = bottom is not None and point.y < bottom
        if point.ends and not series.band and not far:
            place = {"transform": moved} if shift else {}
            axes.vlines(point.x, *point.ends, color=look.light, linewidth=1.4, alpha=0.65, gid="interval", **place)
        shown = replace(point, y=bottom) if far and bottom is not None else point
        small = series.large_end and point is not points[-1]
        fill = {"markerfacecolor": PAPER.light} if point.hollow else {}
        _draw_mark(axes, shown, look, marker="v" if far else look.mark, markersize=3 if small else 7, **fill)


def _draw_mark(axes: Any, point: Point, look: Look, **style: Any) -> None:
    options = {"markersize": 7, "markeredgewidth": 1.4, "clip_on": False, "zorder": 3, **style}
    axes.plot([point.x], [point.y], linestyle="none", color=look.light, gid=tooltip(point.text), **options)


def _draw_names(axes: Any, series: Sequence[Series]) -> None:
    """Write the name of each line to the right of its end. Move a name up if it would overlap another name."""
    low, high = axes.get_ylim()
    step = NAME_HEIGHT * (high - low)
    last = low - step
    for one in sorted(series, key=lambda one: one.points[-1].y):
        last = max(one.points[-1].y, last + step)
        _write_beside(axes, one.name, last, color=one.look.light, fontweight="bold")


def _draw_labels(axes: Any, points: Sequence[Point]) -> None:
    """Write labels next to their points, towards the middle of the chart.

    Omit a label that would overlap another label.
    """
    low, high = axes.get_ylim()
    last = high + (high - low)
    for point in sorted((point for point in points if point.label), key=lambda point: -point.y):
        if last - point.y > NAME_HEIGHT * (high - low):
            right = axes.transAxes.inverted().transform(axes.transData.transform((point.x, point.y)))[0] > 0.5
            axes.annotate(point.label, (point.x, point.y), xytext=(-7 if right else 7, 7), textcoords="offset points",
                          ha="right" if right else "left", color=INK.light, fontsize=11)  # fmt: skip
            last = point.y


def tooltip(text: str) -> str:
    """Encode a tooltip as the ``gid`` of a matplotlib artist, which `to_svg` decodes."""
    return TIP + visible(text).replace("\n", " ")


def to_svg(figure: Any, title: str) -> str:
    """Return a matplotlib figure as an SVG element. Equal figures give identical text.

    An artist gets the tooltip that its ``gid`` encodes (see `tooltip`). The element has no CSS of its own: the page's
    CSS sets its style. The ``title`` is for screen readers.
    """
    for text in figure.findobj(Text):
        text.set_text(visible(text.get_text()).replace("\t", " "))
    out = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the SVG viewer chooses the font
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)  # labels are too long
        figure.savefig(out, format="svg", transparent=True)
    svg = out.getvalue()
    svg = re.sub(rf'<g id="{TIP}([^"]*)">', r"<g><title>\1</title>", svg)
    svg = re.sub(r'<g id="(front|interval)">', r'<g class="\1">', svg)
    for pattern in NEEDLESS:
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", " ", svg[svg.index("<svg") :]).replace("> <", "><")
    width, height = figure.get_size_inches() * 72
    size = f'viewBox="0 0 {width:g} {height:g}"'
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    root = f'<svg class="chart" {names} {size} role="img" aria-label="{html.escape(visible(title))}">'
    return re.sub("<svg [^>]*>", lambda _: root, svg, count=1)
