"""The data classes of a chart, and the colour and the mark of each method. `krona.report.charts.draw` draws the charts.

The colour and the mark of a method are the same in all tables, charts and formats.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from krona.metrics.statistics import Interval
from krona.paper import METHOD_LABELS

LIGHT = (  # each has a contrast of at least 3 on white and on black, because a terminal can have either background
    "#4269d0", "#c47a00", "#d6403a", "#268f80", "#7a3fb5", "#3ca951", "#d6478f", "#7a5c1e", "#5b7083", "#0f8bb5",
    "#7d7d00", "#a0522d",
)  # fmt: skip
DARK = (
    "#8ea9ff", "#efb118", "#ff7f78", "#6cc5b0", "#c59bff", "#6fd583", "#ff8ab7", "#c9a876", "#a9bccd", "#63c8ee",
    "#cfcf55", "#e39b74",
)  # fmt: skip
MARKS = {"o": "●", "s": "■", "^": "▲", "D": "◆"}  # from matplotlib's name to the character in a legend
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", (0, (6, 3)), (0, (2, 2)), (0, (8, 3, 2, 3)))
SLOTS = len(MARKS) * len(LIGHT)
# The axis leaves out the lowest score if its distance to the others is more than 5 times the range of the others.
FAR = 5.0


@dataclass(frozen=True)
class Look:
    """The style of a row: its colour on light and on dark pages, its mark, and the dashes of its line."""

    light: str
    dark: str
    mark: str = "o"
    dash: str | tuple[int, tuple[int, ...]] = "-"

    @property
    def sign(self) -> str:
        """The mark as a character for a legend."""
        return MARKS.get(self.mark, "×")


INK, SOFT = Look("#1d1f23", "#e6e7ea"), Look("#5c626d", "#a2a8b4")
GRID, PAPER = Look("#d9dbe0", "#343943"), Look("#fdfdfb", "#15171b")


def slot(method: str) -> int:
    """Return the number of a method's colour and mark: its place in the list of methods, or a hash of its name."""
    known = tuple(METHOD_LABELS)
    if method in known:
        return known.index(method)
    return len(known) + zlib.crc32(method.encode()) % (SLOTS - len(known))


def method_look(method: str, number: int = 0, count: int = 1) -> Look:
    """Return the style of row ``number`` (from 0) of a method's ``count`` rows, which have shades of its colour."""
    place = slot(method)
    shade = number / (count - 1) - 0.5 if count > 1 else 0.0
    towards = (INK, PAPER)[shade > 0]
    color = place % len(LIGHT)
    marks = tuple(MARKS)
    return Look(
        mix(LIGHT[color], towards.light, abs(shade)),
        mix(DARK[color], towards.dark, abs(shade)),
        marks[(place + place // len(LIGHT) + number) % len(marks)],
        DASHES[(place // len(MARKS) + number) % len(DASHES)],
    )


def row_looks(methods: Sequence[str]) -> list[Look]:
    """Return the style of each row of a table, given the methods of the rows."""
    return [method_look(one, methods[:i].count(one), methods.count(one)) for i, one in enumerate(methods)]


def mix(one: str, two: str, share: float) -> str:
    """Return the color at the position ``share`` (from 0 to 1) of a gradient between two colors."""
    pairs = [(int(one[i : i + 2], 16), int(two[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def dark_style(looks: Iterable[Look] = ()) -> str:
    """Return the CSS that replaces the light colors of all methods and of ``looks`` by dark ones on a dark page.

    The elements of a chart contain the light colors, so that programs without CSS can show the chart.
    """
    pairs = dict(zip(LIGHT, DARK, strict=True)) | {look.light: look.dark for look in (INK, SOFT, GRID, PAPER, *looks)}
    rules = "".join(  # without an ancestor, so that they apply to the copies of a mark that <use> makes
        f'[style*="{name}: {light}"]{{{name}:{dark}!important}}'
        for light, dark in pairs.items()
        for name in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme:dark){{{rules}}}"


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    A ``log`` axis covers at least a factor of 10. It shows the value 0 at an extra position to the left of all other
    values. A ``whole`` axis has ticks at whole numbers.
    """

    label: str
    scale: Literal["linear", "log", "whole"] = "linear"
    low: float | None = None  # the ends; None means that they are chosen from the points
    high: float | None = None
    ticks: Sequence[tuple[float, str]] = ()  # the value and the text of each tick; if empty, matplotlib chooses them


@dataclass(frozen=True)
class Point:
    """A point of a chart."""

    x: float
    y: float
    ends: Interval | None = None  # an interval around y
    text: str = ""  # the tooltip
    label: str = ""  # a text next to the point
    hollow: bool = False  # draw the mark without filling


@dataclass(frozen=True, eq=False)
class Series:
    """Points that are drawn in the same style."""

    name: str
    look: Look
    points: Sequence[Point]
    line: bool = False  # join the points, which are in ascending order of x
    band: bool = False  # draw the intervals as an area
    large_end: bool = False  # draw a large mark at the last point and small marks at the others
    named: bool = False  # write the name at the end of the line


@dataclass(frozen=True)
class Chart:
    """A chart of points and lines. The points of ``front`` are joined by steps, in ascending order of x."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    detail: str = ""
    front: Sequence[Point] = ()


def score_axis(label: str, points: Sequence[Point]) -> Axis:
    """Return an axis that fits the scores of the points and their intervals. Its ends differ by at least 1.

    A single score far below all others is left out, so that the differences between the others are visible. An interval
    beyond 100 does not extend the axis.
    """
    scores = sorted(point.y for point in points)
    far = len(scores) > 3 and scores[1] - scores[0] > FAR * (scores[-1] - scores[1])
    kept = [point for point in points if not far or point.y > scores[0]]
    ends = [end for point in kept for end in (point.y, *(point.ends or ()))]
    low, high = fit_ends(min(ends), max(min(max(ends), 100), *(point.y for point in kept)), least=1)
    return Axis(label, low=low, high=high)


def fit_ends(low: float, high: float, *, least: float) -> Interval:
    """Return the ends of an axis that contains ``low`` and ``high``. The ends differ by more than ``least``."""
    missing = max(0.0, least - (high - low)) / 2
    pad = 0.06 * (high - low + 2 * missing)
    return low - missing - pad, high + missing + pad


def short(value: float) -> str:
    """Format a number for a tick, such as 158k, 2.2M, 0.05 or 1e−5."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}".replace("e-0", "e-").replace("-", "−")


def log_ticks(values: Sequence[float]) -> list[tuple[float, str]]:
    """Return ticks at sorted values of a logarithmic axis, at least a ninth of the axis apart to keep labels apart."""
    positive = [value for value in values if value > 0]
    step = (positive[-1] / positive[0]) ** (1 / 9) if positive else 1.0
    kept: list[float] = []
    for value in values:
        if not kept or value >= step * kept[-1]:
            kept.append(value)
    return [(value, short(value)) for value in kept]
