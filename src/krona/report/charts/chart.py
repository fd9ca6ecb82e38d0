"""The data classes of a chart: axes, points and series. `krona.report.charts.draw` draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from krona.metrics.statistics import Interval
from krona.report.charts.looks import Look

# The axis leaves out the lowest score if its distance to the others is more than 5 times the range of the others.
FAR = 5.0


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
