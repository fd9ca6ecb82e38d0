"""Draw a chart of points and lines as an SVG element."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.etree import ElementTree

from krona.messages import visible
from krona.report.charts.axes import ChartAxis, Interval
from krona.report.charts.looks import GRID, INK, PAPER, SOFT, Look

STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "krona", "font.size": 12, "lines.solid_capstyle": "butt",
    "axes.labelcolor": INK.light, "xtick.color": SOFT.light, "ytick.color": SOFT.light,
    "text.parse_math": False,
}  # fmt: skip
Marks = Literal["all", "last", "none"]
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 46  # margins around the axes
SVG = "{http://www.w3.org/2000/svg}"
NEEDLESS = (f"{SVG}metadata", f"{SVG}style", f"{SVG}clipPath")
LETTER = 6.6  # mean width of a letter of a label
LABEL_OFFSETS = ((8, 6), (8, -14), (-8, 6), (-8, -14), (8, 20), (-8, 20))  # of a label from its point


ElementTree.register_namespace("", SVG.strip("{}"))
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


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


@dataclass
class Canvas:
    """A figure while it is drawn; ``texts`` are the tooltips of each group of marks."""

    figure: Any
    axes: Any
    texts: list[Sequence[str]] = field(default_factory=list)

    def marks(self, places: Sequence[tuple[float, float]], texts: Sequence[str], look: Look, **style: Any) -> None:
        """Draw a mark at each place, with its tooltip."""
        options: dict[str, Any] = {"markersize": 7, "markeredgewidth": 1.4, "marker": look.mark, **style}
        self.axes.plot(
            *zip(*places, strict=True), linestyle="none", color=look.light, clip_on=False, zorder=3,
            gid=f"tips{len(self.texts)}", **options,
        )  # fmt: skip
        self.texts.append(texts)

    def line(self, xs: Sequence[float], ys: Sequence[float], text: str, look: Look) -> None:
        """Draw a line with its tooltip."""
        gid = f"tips{len(self.texts)}"
        self.axes.plot(xs, ys, color=look.light, linewidth=1.8, linestyle=look.dash, clip_on=False, gid=gid)
        self.texts.append([text])

    def arrow(self, place: tuple[float, float], mark: str, look: Look) -> None:
        """Show that an interval or a point lies beyond the end of the axis."""
        self.marks([place], ["beyond the axis"], look, marker=mark, markersize=5)


@contextmanager
def canvas(width: float, height: float, margins: tuple[float, float, float, float]) -> Iterator[Canvas]:
    """Yield an empty figure; margins: left, right, top and bottom of its axes."""
    import matplotlib
    from matplotlib.figure import Figure

    left, right, top, bottom = margins
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width / 72, height / 72))
        box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
        axes = figure.add_axes(box)
        axes.patch.set_visible(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, pad=6)
        yield Canvas(figure, axes)


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


def to_svg(on: Canvas, title: str) -> str:
    """Return the figure as an SVG element with its tooltips, without what is not needed or changes between runs."""
    from matplotlib.text import Text

    for text in on.figure.findobj(Text):
        text.set_text(visible(text.get_text()).replace("\t", " "))
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the font is the reader's
        on.figure.savefig(out, format="svg", transparent=True)
    root = ElementTree.fromstring(out.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in NEEDLESS:
                parent.remove(child)
        _clean(parent)
        if (name := parent.get("id", "")).startswith("tips"):
            _add_tooltips(parent, on.texts[int(name.removeprefix("tips"))])
        if name in ("front", "interval"):
            parent.set("class", name)
        if parent.tag != f"{SVG}path":  # the path of a mark is referred to
            parent.attrib.pop("id", None)
    width, height = on.figure.get_size_inches() * 72
    root.attrib = {
        "class": "chart",
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": visible(title),
    }
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element) -> None:
    element.text, element.tail = (element.text or "").strip(), ""
    for name, value in list(element.attrib.items()):
        if name == "clip-path" or value.startswith("rotate(-0"):
            del element.attrib[name]
        elif name == "style":
            element.set(name, re.sub(r"font-family: [^;]+;? ?", "", value))
        elif name == "d":
            element.set(name, " ".join(value.split()))
    if element.tag == f"{SVG}path" and element.get("id"):
        element.attrib.pop("style", None)  # a mark has its colors where it is used


def _add_tooltips(group: ElementTree.Element, texts: Sequence[str]) -> None:
    """Give each mark its text; a line has one text."""
    marks = list(group.iter(f"{SVG}use")) or [group]
    for mark, text in zip(marks, texts, strict=True):
        title = ElementTree.Element(f"{SVG}title")
        title.text = visible(text)
        mark.insert(0, title)
