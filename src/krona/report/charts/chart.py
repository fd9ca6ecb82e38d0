"""The parts of a chart, before it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from krona.metrics.statistics import Interval
from krona.report.charts.looks import Look

Marks = Literal["all", "last", "none"]
FAR = 1.5  # a lowest score this many times the others' range below them is left out of the axis


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Args:
        scale: ``log`` has at least a decade, and a position for zero left of the other values; ``whole`` has ticks
            at whole numbers.
        low, high: ends of the axis; None: as the points need.
        ticks: value -> text; empty: chosen by matplotlib.
    """

    label: str
    scale: Literal["linear", "log", "whole"] = "linear"
    low: float | None = None
    high: float | None = None
    ticks: Sequence[tuple[float, str]] = ()


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

    Args:
        line: join the points.
        band: draw the intervals as an area.
        marks: at all points, large at the last and small at the others, or none.
        named: write the name at the end of the line.
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
    x: Axis
    y: Axis
    series: Sequence[Series]
    detail: str = ""
    front: Sequence[Point] = ()


@dataclass(frozen=True)
class ScoreRow:
    """A row of a chart. ``shown``: the text beside the row; ``paper``: the paper's score."""

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
    """A score for each row, with its intervals. ``label``: of the axis of scores."""

    title: str
    label: str
    rows: Sequence[ScoreRow]


def score_axis(label: str, points: Sequence[Point]) -> Axis:
    """Return an axis of at least one point that fits the scores and their intervals.

    A single score far below all others is left out, so that the others can be told apart. An interval may reach beyond
    100; the axis does not.
    """
    scores = sorted(point.y for point in points)
    far = len(scores) > 3 and scores[1] - scores[0] > FAR * (scores[-1] - scores[1])
    kept = [point for point in points if not far or point.y > scores[0]]
    ends = [end for point in kept for end in (point.y, *(point.ends or ()))]
    low, high = min(ends), max(min(max(ends), 100), *(point.y for point in kept))
    missing = max(0.0, 1 - (high - low)) / 2
    pad = 0.06 * (high - low + 2 * missing)
    return Axis(label, low=low - missing - pad, high=high + missing + pad)


def short(value: float) -> str:
    """Return a number for a tick: 158k, 2.2M, 0.05, 1e−5."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}".replace("e-0", "e-").replace("-", "−")
