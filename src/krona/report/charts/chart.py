"""The data classes of a chart: axes, points and series. `krona.report.charts.draw` draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from krona.metrics.statistics import Interval
from krona.report.charts.looks import Look


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
