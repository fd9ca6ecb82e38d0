"""Build the charts of a report: the score against costs, ranks, epochs, the values of a setting, and search trials.

The colour and the mark of a method are the same in a whole report. `krona.report.draw` draws the charts.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import fmean
from typing import Any, Literal

import numpy as np
import pandas as pd

from krona.labels import method_label, method_labels, method_order, method_slot, task_label, task_order
from krona.metrics.statistics import Interval
from krona.report.costs import COSTS, QUANTITIES, mean_cost, on_front
from krona.report.runs import read_setting
from krona.report.table import Cell, Column, Row, Table, seed_interval
from krona.report.text import SEEDS, cell_value, format_range, format_seeds, number, plain_label
from krona.runs.studies import Study, Trial
from krona.runs.suspicious_scores import SIGN

LIGHT = (  # each colour has a contrast of at least 3 on white and on black, the backgrounds of terminals
    "#4269d0", "#c47a00", "#d6403a", "#268f80", "#7a3fb5", "#3ca951", "#d6478f", "#7a5c1e", "#5b7083", "#0f8bb5",
    "#7d7d00", "#a0522d",
)  # fmt: skip
DARK = (
    "#8ea9ff", "#efb118", "#ff7f78", "#6cc5b0", "#c59bff", "#6fd583", "#ff8ab7", "#c9a876", "#a9bccd", "#63c8ee",
    "#cfcf55", "#e39b74",
)  # fmt: skip
MARKS = {
    "o": "●",
    "s": "■",
    "^": "▲",
    "D": "◆",
    "v": "▼",
    "P": "✚",
    "*": "★",
}  # maps matplotlib's marker names to characters for legends
FIRST_MARKS = 4  # the number of marks for the first slots, with each colour; the others are for the next slots
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", (0, (6, 3)), (0, (2, 2)), (0, (8, 3, 2, 3)))
SLOTS = len(MARKS) * len(LIGHT)
FAR = 5.0  # an axis omits the lowest score if its distance to the other scores exceeds 5 times their range
SEVERAL = 1.2  # sizes of a method count as equal if the largest is less than 1.2 times the smallest
LEAST_COST = 1.05  # a cost counts as lower only if it is lower by this factor, because times and memory vary
OVER_SEEDS, OVER_ROWS = f"over seeds ({SEEDS})", "over test rows (bootstrap, 95 %)"  # texts that explain an interval
MAX_LINES = 12  # the chart of epochs shows at most this number of the best rows
MAX_CHOICES = 20  # if an axis of a search has more choices, only some choices get a tick label
RATE, ROWS = "optimizer.lr", "data.train_rows"
MIN_VALUES = 3  # a curve needs at least this number of values of the setting
# The settings that may differ between the runs of a curve.
VARYING = {RATE: (RATE,), ROWS: (ROWS, "data.subset_seed", "train set", "rows left out")}
NAMES = {RATE: "learning rate", ROWS: "training rows"}


@dataclass(frozen=True)
class Look:
    """The style of a row: its colours on light and dark pages, its marker, and its line style."""

    light: str
    dark: str
    mark: str = "o"
    dash: str | tuple[int, tuple[int, ...]] = "-"

    @property
    def sign(self) -> str:
        """The marker as a character for a legend."""
        return MARKS.get(self.mark, "×")


INK, SOFT = Look("#1d1f23", "#e6e7ea"), Look("#5c626d", "#a2a8b4")
GRID, PAPER = Look("#d9dbe0", "#343943"), Look("#fdfdfb", "#15171b")
PRUNED = Look(LIGHT[8], DARK[8], "x")


def slot(method: str) -> int:
    """Return the index of a method's colour and mark: from the ``order`` in its YAML, or a free one by its name."""
    place = method_slot(method)
    if place is not None:
        return place % SLOTS
    taken = {method_slot(name) for name in method_labels()}
    free = [one for one in range(SLOTS) if one not in taken]
    return free[zlib.crc32(method.encode()) % len(free)]


def assign_slots(methods: Iterable[str]) -> dict[str, int]:
    """Return the index of the colour and mark of each method in a report.

    If several methods have the same colour, the first of them keeps its `slot`, and the others get colours that no
    method of the report has, while there are any.
    """
    found: dict[str, int] = {}
    used: set[int] = set()
    ordered = sorted({*methods}, key=method_order)
    for method in ordered:
        if (color := slot(method) % len(LIGHT)) not in used:
            found[method] = slot(method)
            used.add(color)
    free = (color for color in range(len(LIGHT)) if color not in used)
    return found | {method: next(free, slot(method)) for method in ordered if method not in found}


def method_look(method: str, number: int = 0, count: int = 1, *, among: Iterable[str] = ()) -> Look:
    """Return the style of row ``number`` (from 0) of a method with ``count`` rows, which have shades of one colour.

    ``among`` are all methods of the report.
    """
    place = assign_slots([method, *among])[method]
    shade = number / (count - 1) - 0.5 if count > 1 else 0.0
    towards = (INK, PAPER)[shade > 0]
    color = place % len(LIGHT)
    first = place < FIRST_MARKS * len(LIGHT)
    marks = tuple(MARKS)[:FIRST_MARKS] if first else tuple(MARKS)[FIRST_MARKS:]
    return Look(
        mix(LIGHT[color], towards.light, abs(shade)),
        mix(DARK[color], towards.dark, abs(shade)),
        marks[(place + place // len(LIGHT) + number) % len(marks)],
        DASHES[(place // FIRST_MARKS + number) % len(DASHES)],
    )


def row_looks(table: Table) -> list[Look]:
    """Return the style of each row of a table."""
    methods, among = [row.method for row in table.rows], {*table.methods}
    return [method_look(one, methods[:i].count(one), methods.count(one), among=among) for i, one in enumerate(methods)]


def mix(one: str, two: str, share: float) -> str:
    """Return the colour at the position ``share`` (from 0 to 1) of a gradient between two colours."""
    pairs = [(int(one[i : i + 2], 16), int(two[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def dark_style(looks: Iterable[Look] = ()) -> str:
    """Return the CSS that replaces light colours by dark colours on a dark page, for all methods and ``looks``.

    The charts themselves contain the light colours, so that programs without CSS can show the charts.
    """
    pairs = dict(zip(LIGHT, DARK, strict=True)) | {look.light: look.dark for look in (INK, SOFT, GRID, PAPER, *looks)}
    rules = "".join(  # selectors without an ancestor also match the copies of a mark in <use> elements
        f'[style*="{name}: {light}"]{{{name}:{dark}!important}}'
        for light, dark in pairs.items()
        for name in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme:dark){{{rules}}}"


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    A ``log`` axis covers at least a factor of 10, and shows the value 0 at an extra position to the left of all other
    values. A ``whole`` axis has ticks at whole numbers.
    """

    label: str
    scale: Literal["linear", "log", "whole"] = "linear"
    low: float | None = None  # the lower end of the axis; if None, the end is chosen from the points (also for high)
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
    hollow: bool = False  # draw only the outline of the mark


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


@dataclass(frozen=True, eq=False)
class Scored:
    """A row of a table with its score in one column."""

    row: Row
    cell: Cell
    look: Look
    line_look: Look  # the style of a line through several rows of the method
    score: float

    @property
    def name(self) -> str:
        return plain_label(self.row.label)

    @property
    def shown(self) -> str:
        """The score with the sign of a warning and the spread over seeds."""
        return f"{cell_value(self.cell)}{SIGN * self.cell.warned} {format_seeds(self.cell)}".strip()

    @property
    def interval(self) -> Interval | None:
        """The interval over seeds or, with one seed, the interval over test rows."""
        return self.cell.seed_interval or self.cell.test_interval

    def point(self, x: float, more: str = "", *, label: str = "", hollow: bool = False) -> Point:
        """Return a point with the row's score at the position ``x``. ``more`` is added to the tooltip."""
        differs = f" ({self.row.differs})" if self.row.differs else ""
        interval = self.interval
        ends = f" ({format_range(interval)})" if interval else ""
        text = f"{self.name}{differs}: {number(self.score)}{ends}{more}"
        return Point(x, self.score, interval, text, label, hollow)


def score_axis(label: str, points: Sequence[Point]) -> Axis:
    """Return an axis that fits the scores and the intervals of the points. The axis ends differ by at least 1.

    The axis excludes a single score far below all others, so that the differences between the others stay visible. An
    interval beyond 100 does not extend the axis.
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
    """Return ticks for sorted values of a logarithmic axis, at least a ninth of the axis apart."""
    positive = [value for value in values if value > 0]
    step = (positive[-1] / positive[0]) ** (1 / 9) if positive else 1.0
    kept: list[float] = []
    for value in values:
        if not kept or value >= step * kept[-1]:
            kept.append(value)
    return [(value, short(value)) for value in kept]


def score_chart(
    title: str, axis: Axis, label: str, series: Sequence[Series], *, detail: str = "", front: Sequence[Point] = ()
) -> Chart:
    """Return a chart of scores. ``label`` is the label of the vertical axis."""
    points = [point for one in series for point in one.points]
    scores = score_axis(label, points)
    left_out = "▼ below the axis" if any(point.y < (scores.low or 0.0) for point in points) else ""
    return Chart(title, axis, scores, series, "; ".join(filter(None, (detail, left_out))), front)


def scored_rows(table: Table, column: Column) -> list[Scored]:
    """Return the rows that have a score in the column."""
    cells = [row.cell(column.key) for row in table.rows]
    found = zip(table.rows, cells, row_looks(table), strict=True)
    return [
        Scored(row, cell, look, method_look(row.method, among=table.methods), cell.value)
        for row, cell, look in found
        if cell.value is not None
    ]


def explain_lines(rows: Sequence[Scored]) -> str:
    """Return a text that explains the interval line of each score in a chart."""
    over_seeds = {row.cell.seed_interval is not None for row in rows if row.interval}
    texts = {True: OVER_SEEDS, False: OVER_ROWS}
    return "; ".join(f"lines: {texts[one]}" for one in sorted(over_seeds, reverse=True))


def explain_rows(rows: Sequence[Scored]) -> str:
    """Return a text that explains the lines and the ring in the chart of `krona.report.draw.draw_scores`."""
    words = [f"upper line: {OVER_SEEDS}"] if any(row.cell.seed_interval for row in rows) else []
    if any(row.cell.test_interval for row in rows):
        words.append(f"{'lower ' if words else ''}line: {OVER_ROWS}")
    words += ["ring: the paper"] if any(row.cell.paper is not None for row in rows) else []
    return "; ".join(words)


def cost_charts(column: Column, rows: Sequence[Scored]) -> list[Chart]:
    """Return a chart of the score against each cost that differs between rows."""
    charts = []
    for cost in COSTS:
        spent = {row: value for row in rows if (value := mean_cost(row.cell, cost)) is not None}
        if len({*spent.values()}) > 1:
            charts.append(_cost_chart(column, cost, spent))
    return charts


def _cost_chart(column: Column, cost: str, spent: Mapping[Scored, float]) -> Chart:
    """Return a chart of the score against a cost, with the Pareto front of the rows that can be compared.

    In the chart of parameters, each method with several sizes is a line. A chart with such lines has no front.
    """
    lines = _group_by_size(spent) if cost == "params" else {}
    compared = [row for row in spent if row.cell.compared and not lines]
    highest = max((row.score for row in compared), default=0.0)
    fits = on_front([(highest if row.cell.tied else row.score, spent[row]) for row in compared], least=LEAST_COST)
    front = {row for row, fit in zip(compared, fits, strict=True) if fit}
    if len({spent[row] for row in front}) < 2:
        front = set()
    points = {}
    for row, value in spent.items():
        x = value / QUANTITIES[cost].unit
        values = ", ".join(setting.rpartition("=")[2] for setting in row.row.differs.split(", "))
        label = f"{row.name} {values}".strip() if row in front or (lines and row.row.label not in lines) else ""
        more = f"; {x:,.5g}{'; on the Pareto front' if row in front else ''}"
        points[row] = row.point(x, more, label=label, hollow=bool(front) and row not in front)
    series = [
        Series(sized[0].name, sized[0].line_look, [points[row] for row in sized], line=True, named=True)
        for sized in lines.values()
    ]
    series += [Series(row.name, row.look, [points[row]]) for row in spent if row.row.label not in lines]
    ends = sorted((points[row] for row in front), key=lambda one: (one.x, one.y))
    words = [explain_lines(list(spent))]
    if front:
        words.append(
            "filled, joined marks: the Pareto front; scores that are not significantly worse count as equal to the best"
        )
    return _against(cost, column, series, detail="; ".join(filter(None, words)), front=ends)


def _group_by_size(spent: Mapping[Scored, float]) -> dict[str, list[Scored]]:
    """Return the rows of each method that has several sizes (numbers of parameters), by label and in order of size."""
    found: dict[str, list[Scored]] = {}
    for row in sorted(spent, key=lambda row: spent[row]):
        found.setdefault(row.row.label, []).append(row)
    return {label: rows for label, rows in found.items() if spent[rows[-1]] >= SEVERAL * spent[rows[0]] > 0}


def rank_charts(column: Column, rows: Sequence[Scored]) -> list[Chart]:
    """Return charts of the score against the maximum rank and the effective rank of the update, if the ranks vary."""
    charts = []
    for name in ("rank", "effective"):
        known = {row: rank for row in rows if (rank := row.row.cell(name).value)}
        if len({*known.values()}) > 1:
            points = {row: row.point(rank, f"; rank {number(rank, 1)}") for row, rank in known.items()}
            series = [Series(row.name, row.look, [one]) for row, one in points.items()]
            charts.append(_against(name, column, series, detail=explain_lines(list(points))))
    return charts


def _against(
    name: str, column: Column, series: Sequence[Series], *, detail: str = "", front: Sequence[Point] = ()
) -> Chart:
    quantity = QUANTITIES[name]
    values = sorted({point.x for each in series for point in each.points})
    positive = [value for value in values if value > 0]
    if quantity.logarithmic or positive[-1] > 20 * positive[0]:
        sizes = values if any(each.line for each in series) and len(values) < 8 else []
        axis = Axis(f"{quantity.axis}, log.", "log", ticks=log_ticks(sizes))
    else:
        low, high = fit_ends(values[0], values[-1], least=0.1 * values[-1])
        axis = Axis(quantity.axis, low=low, high=high)
    title = f"Score against {quantity.axis.partition(' (')[0]}"
    return score_chart(title, axis, f"{column.label}, score", series, detail=detail, front=front)


def epoch_charts(column: Column, rows: Sequence[Scored]) -> list[Chart]:
    """Return a chart of the dev score by epoch, if a row has several epochs. Bands show the range over seeds."""
    best = sorted(rows, key=lambda row: -row.score)[:MAX_LINES] if column.kind == "task" else []
    lines = {row: _epoch_points(row) for row in rows if row in best}
    series = [
        Series(row.name, row.look, points, line=True, band=True, large_end=True)
        for row, points in lines.items()
        if len(points) > 1
    ]
    if not series:
        return []
    detail = "mean, lowest and highest seed" + (f"; the best {MAX_LINES} rows" if len(rows) > MAX_LINES else "")
    return [score_chart("Dev score by epoch", Axis("epoch", "whole"), "dev score", series, detail=detail)]


def _epoch_points(row: Scored) -> list[Point]:
    results = [] if row.cell.runs is None else [*row.cell.runs.result]
    curve = pd.DataFrame([epoch for result in results for epoch in result.dev_curve], columns=["epoch", "score"])
    found = curve.dropna().groupby("epoch").score.agg(["mean", "min", "max"])
    return [
        Point(epoch, mean, (low, high), f"{row.name}: {number(mean)} in epoch {epoch} ({format_range((low, high))})")
        for epoch, mean, low, high in found.itertuples()
    ]


@dataclass(frozen=True)
class CurvePoint:
    """A point of a curve: the mean score over the seeds with one value of the setting."""

    x: float  # the value of the setting
    seeds: int
    score: float
    interval: Interval | None  # the interval over seeds (`krona.report.table.seed_interval`)
    test: float | None = None  # the mean test score, if all runs have one


@dataclass(frozen=True)
class Curves:
    """The curves of all methods on one task of one section. Curves over learning rates show dev scores."""

    setting: str
    heading: str
    task: str
    split: str
    lines: dict[str, list[CurvePoint]] = field(default_factory=dict)  # the points of each curve by method name

    @property
    def title(self) -> str:
        return f"{task_label(self.task)} {self.split} by {NAMES[self.setting]}: {self.heading}"

    def explain_bars(self) -> str:
        """Return a sentence that explains the error bars of the points, or an empty text if there are no bars."""
        bars = any(point.interval for points in self.lines.values() for point in points)
        return f"Bars: over seeds ({SEEDS})." if bars else ""


def find_curves(runs: pd.DataFrame) -> list[Curves]:
    """Return the curves over learning rates and over training rows.

    A method has a curve if its finished runs tried at least `MIN_VALUES` learning rates or numbers of training rows,
    with otherwise equal settings.
    """
    found = []
    places = runs.groupby([runs.section.map(lambda section: section.heading), "task"])
    for (heading, task), group in sorted(places, key=lambda one: (one[0][0], task_order(one[0][1]))):
        for setting in (RATE, ROWS):
            scored = setting == ROWS and group.test.notna().all()
            one = Curves(setting, heading, task, "test" if scored else "dev")
            for method in sorted({*group.method}, key=method_order):
                points = _curve(group[group.method == method], setting, one.split)
                if len(points) >= MIN_VALUES:
                    one.lines[method] = points
            if one.lines:
                found.append(one)
    return found


def _curve(runs: pd.DataFrame, setting: str, split: str) -> list[CurvePoint]:
    """Return the points of the variant with the most values of the setting and, among these, the most runs."""
    variants: dict[frozenset[tuple[str, str]], dict[float, list[int]]] = defaultdict(lambda: defaultdict(list))
    for run in runs[runs[split].notna()].run:
        if (x := _setting_value(run, setting)) is not None:
            rest = frozenset((key, value) for key, value in run.settings.items() if key not in VARYING[setting])
            variants[rest][x].append(run.Index)
    chosen = max(variants.values(), key=lambda one: (len(one), sum(map(len, one.values()))), default={})
    points = []
    for x in sorted(chosen):
        scores = runs.loc[chosen[x], ["dev", "test"]]
        test = None if scores.test.isna().any() else float(scores.test.mean())
        own = [*scores[split]]
        points.append(CurvePoint(x, len(own), fmean(own), seed_interval(own), test))
    return points


def _setting_value(run: object, setting: str) -> float | None:
    text = read_setting(run, setting)
    if setting == ROWS and text in (None, "null"):
        rows = run.result.splits.get("train", {}).get("rows")  # type: ignore[attr-defined]
        return None if rows is None else float(rows)
    try:
        value = float(text or "0")
    except ValueError:  # a result that was edited by hand may contain any text
        return None
    return value if value > 0 else None


def expect_best(points: Sequence[CurvePoint]) -> list[tuple[int, float, float | None]]:
    """Return, for each k, a tuple of k and the expected dev and test scores of the best of k random trials.

    Each point of the curve is one trial. The best trial is the trial with the highest dev score. The test score is None
    if one of the trials has no test score. By Eq. 8 of Dodge et al. (2019), with n trials in ascending order of their
    scores, the best of k trials is the i-th trial with probability (i/n)^k - ((i-1)/n)^k.
    """
    ranked = sorted(points, key=lambda point: point.score)
    n = len(ranked)
    ends = np.arange(n + 1) / n
    found = []
    for k in range(1, n + 1):
        chances = np.diff(ends**k)
        dev = float(chances @ [point.score for point in ranked])
        tests = [point.test for point in ranked if point.test is not None]
        found.append((k, dev, float(chances @ tests) if len(tests) == n else None))
    return found


def curve_charts(curves: Curves, methods: Iterable[str]) -> list[Chart]:
    """Return the chart of the score against a setting. For learning rates, also return the charts of `expect_best`.

    ``methods`` are all methods of the report.
    """
    looks = {method: method_look(method, among=methods) for method in curves.lines}
    setting = NAMES[curves.setting]
    values = sorted({point.x for points in curves.lines.values() for point in points})
    lines = {
        method: [Point(one.x, one.score, one.interval, f"{number(one.score)} at {one.x:g}") for one in points]
        for method, points in curves.lines.items()
    }
    axis = Axis(f"{setting}, log.", "log", ticks=log_ticks(values))
    heading, label = f"{curves.split.capitalize()} score by {setting}", f"{curves.split} score"
    charts = [_line_chart(heading, axis, label, lines, looks)]
    if curves.setting != RATE:
        return charts
    best = {method: expect_best(points) for method, points in curves.lines.items()}
    for title, split, place in (
        ("Best of k of these rates, drawn at random (Dodge et al. 2019)", "dev", 1),
        ("Test score of the trial with the best dev score", "test", 2),
    ):
        known = {method: [(one[0], one[place]) for one in found] for method, found in best.items()}
        lines = {
            method: [Point(k, value, None, f"{number(value)} for k = {k}") for k, value in found if value is not None]
            for method, found in known.items()
        }
        if lines := {method: points for method, points in lines.items() if points}:
            charts.append(_line_chart(title, Axis("k", "whole"), f"expected {split} score", lines, looks))
    return charts


def _line_chart(
    title: str, axis: Axis, label: str, lines: Mapping[str, list[Point]], looks: Mapping[str, Look]
) -> Chart:
    series = []
    for method, points in lines.items():
        name = plain_label(method_label(method))
        told = [Point(one.x, one.y, one.ends, f"{name}: {one.text}") for one in points]
        series.append(Series(name, looks[method], told, line=True, named=True))
    return score_chart(title, axis, label, series)


def study_charts(study: Study) -> list[Chart]:
    """Return charts of a search: the dev score by trial, and along each axis. A chart needs two scored trials."""
    trials = [one for one in study.trials if one.value is not None and one.state in ("finished", "pruned")]
    if len(trials) < 2:
        return []
    done = [one for one in trials if one.state == "finished"]
    highest = accumulate((one.value or 0.0 for one in done), max)
    best = [Point(one.number, score) for one, score in zip(done, highest, strict=True)]
    charts = [_trial_chart("Dev score by trial", Axis("trial", "whole"), [(one.number, one) for one in trials], best)]
    for key, distribution in study.axes.items():
        places = [(distribution.to_internal_repr(one.params[key]), one) for one in trials if key in one.params]
        if len(places) > 1:
            charts.append(_trial_chart(f"Dev score along {key}", _chart_axis(key, distribution), places))
    return charts


def _trial_chart(title: str, axis: Axis, trials: Sequence[tuple[float, Trial]], best: Sequence[Point] = ()) -> Chart:
    points: dict[str, list[Point]] = {"finished": [], "pruned": []}
    for x, one in trials:
        text = f"trial {one.number}, {one.state}: {number(one.value or 0.0)}"
        points[one.state].append(Point(x, one.value or 0.0, None, text))
    looks = {"finished": method_look("full"), "pruned": PRUNED}
    series = [Series(state, looks[state], found) for state, found in points.items() if found]
    detail = "dots: finished trials, crosses: pruned trials, line: best score so far" if best else ""
    return score_chart(title, axis, "dev score", series, detail=detail, front=best)


def _chart_axis(key: str, distribution: Any) -> Axis:
    if hasattr(distribution, "choices"):  # Optuna's internal value of a choice is its index
        step = 1 + len(distribution.choices) // MAX_CHOICES
        return Axis(key, ticks=[(i, str(name)) for i, name in enumerate(distribution.choices) if i % step == 0])
    if distribution.log:
        return Axis(f"{key}, log.", "log", distribution.low, distribution.high)
    return Axis(key, low=distribution.low)
