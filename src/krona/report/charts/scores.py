"""Build the charts of a report: the score against costs, ranks, epochs, the values of a setting, and search trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean

from krona.report.charts.chart import (
    Axis,
    Chart,
    Look,
    Point,
    Series,
    fit_ends,
    log_ticks,
    method_look,
    row_looks,
    score_axis,
)
from krona.report.charts.curves import NAMES, RATE, Curves, expect_best
from krona.report.costs import COSTS, QUANTITIES, mean_cost, on_front
from krona.report.table import Cell, Column, Row, Table
from krona.report.wording import cell_mark, cell_value, format_range, format_seeds, number, plain_label
from krona.runs import studies
from krona.runs.studies import Study, Trial

SEVERAL = 1.2  # sizes of a method count as equal if the largest is less than 1.2 times the smallest
MOST_LINES = 12  # the chart of epochs shows at most this number of the best rows
PRUNED = Look("#5b7083", "#a9bccd", "x")
MOST_NAMES = 20  # if an axis of a search has more choices, only some of them are named


@dataclass(frozen=True, eq=False)
class Scored:
    """A row of a table with its score in one column."""

    row: Row
    cell: Cell
    look: Look
    score: float

    @property
    def name(self) -> str:
        return plain_label(self.row.label)

    @property
    def shown(self) -> str:
        """The score with the sign of a warning and the spread over seeds."""
        return f"{cell_value(self.cell)}{cell_mark(self.cell).strip('*~')} {format_seeds(self.cell)}".strip()

    def point(self, x: float, more: str = "", *, label: str = "", hollow: bool = False) -> Point:
        """Return a point of the row's score at ``x``. ``more`` is added to the tooltip."""
        differs = f" ({self.row.differs})" if self.row.differs else ""
        ends = f" ({format_range(self.cell.over_seeds)})" if self.cell.over_seeds else ""
        text = f"{self.name}{differs}: {number(self.score)}{ends}{more}"
        return Point(x, self.score, self.cell.over_seeds, text, label, hollow)


def scored_rows(table: Table, column: Column) -> list[Scored]:
    """Return the rows that have a score in the column."""
    cells = [row.cell(column.key) for row in table.rows]
    found = zip(table.rows, cells, row_looks([row.method for row in table.rows]), strict=True)
    return [Scored(row, cell, look, cell.value) for row, cell, look in found if cell.value is not None]


def cost_charts(column: Column, rows: Sequence[Scored]) -> list[Chart]:
    """Return a chart of the score against each cost that differs between rows."""
    charts = []
    for cost in COSTS:
        spent = {row: value for row in rows if (value := mean_cost(row.cell.runs, cost)) is not None}
        if len({*spent.values()}) > 1:
            charts.append(_cost_chart(column, cost, spent))
    return charts


def _cost_chart(column: Column, cost: str, spent: Mapping[Scored, float]) -> Chart:
    """Return a chart of the score against a cost, with the Pareto front of the rows that can be compared.

    In the chart of parameters, each method with several sizes is a line with one label, and no front is drawn.
    """
    lines = _group_by_size(spent) if cost == "params" else {}
    compared = [row for row in spent if row.cell.compared and not lines]
    fits = on_front([(row.score, spent[row]) for row in compared])
    front = {row for row, fit in zip(compared, fits, strict=True) if fit}
    points = {}
    for row, value in spent.items():
        x = value / QUANTITIES[cost].unit
        values = ", ".join(setting.rpartition("=")[2] for setting in row.row.differs.split(", "))
        label = f"{row.name} {values}".strip() if row in front or (lines and row.row.label not in lines) else ""
        more = f"; {x:,.5g}{'; on the Pareto front' if row in front else ''}"
        points[row] = row.point(x, more, label=label, hollow=bool(front) and row not in front)
    series = [
        Series(sized[0].name, method_look(sized[0].row.method), [points[row] for row in sized], line=True, named=True)
        for sized in lines.values()
    ]
    series += [Series(row.name, row.look, [points[row]]) for row in spent if row.row.label not in lines]
    ends = sorted((points[row] for row in front), key=lambda one: (one.x, one.y))
    detail = "filled, joined marks: the Pareto front (not tested)" if front else ""
    return _against(cost, column, series, detail=detail, front=ends)


def _group_by_size(spent: Mapping[Scored, float]) -> dict[str, list[Scored]]:
    """Return a dict from the label of each method with several numbers of parameters to its rows, smallest first."""
    found: dict[str, list[Scored]] = {}
    for row in sorted(spent, key=lambda row: spent[row]):
        found.setdefault(row.row.label, []).append(row)
    return {label: rows for label, rows in found.items() if spent[rows[-1]] >= SEVERAL * spent[rows[0]] > 0}


def rank_charts(column: Column, rows: Sequence[Scored]) -> list[Chart]:
    """Return charts of the score against the highest and the effective rank of the update, if these differ."""
    charts = []
    for name in ("rank", "effective"):
        known = {row: rank for row in rows if (rank := row.row.cell(name).value)}
        if len({*known.values()}) > 1:
            points = {row: row.point(rank, f"; rank {number(rank, 1)}") for row, rank in known.items()}
            series = [Series(row.name, row.look, [point]) for row, point in points.items()]
            charts.append(_against(name, column, series))
    return charts


def epoch_charts(column: Column, rows: Sequence[Scored]) -> list[Chart]:
    """Return a chart of the dev score by epoch, if a row has several epochs. Bands show the seeds' range."""
    best = sorted(rows, key=lambda row: -row.score)[:MOST_LINES] if column.kind == "task" else []
    lines = {row: _epoch_points(row) for row in rows if row in best}
    series = [
        Series(row.name, row.look, points, line=True, band=True, large_end=True)
        for row, points in lines.items()
        if len(points) > 1
    ]
    if not series:
        return []
    detail = "mean, lowest and highest seed" + (f"; the best {MOST_LINES} rows" if len(rows) > MOST_LINES else "")
    return [score_chart("Dev score by epoch", Axis("epoch", "whole"), "dev score", series, detail=detail)]


def _epoch_points(row: Scored) -> list[Point]:
    by_epoch: dict[int, list[float]] = {}
    entries = [entry for run in row.cell.runs for entry in run.whole.dev_curve if entry.get("score") is not None]
    for entry in entries:
        by_epoch.setdefault(entry["epoch"], []).append(entry["score"])
    points = []
    for epoch, scores in sorted(by_epoch.items()):
        mean, ends = fmean(scores), (min(scores), max(scores))
        points.append(Point(epoch, mean, ends, f"{row.name}: {number(mean)} in epoch {epoch} ({format_range(ends)})"))
    return points


def curve_charts(curves: Curves) -> list[Chart]:
    """Return the chart of the score against a setting. For learning rates, also return charts of `expect_best`."""
    setting = NAMES[curves.setting]
    looks = {name: method_look(points[0].runs[0].result.method) for name, points in curves.lines.items()}
    values = sorted({point.x for points in curves.lines.values() for point in points})
    lines = {
        name: [Point(one.x, one.score, one.interval, f"{name}: {number(one.score)} at {one.x:g}") for one in points]
        for name, points in curves.lines.items()
    }
    axis = Axis(f"{setting}, log.", "log", ticks=log_ticks(values))
    title = f"{curves.split.capitalize()} score by {setting}"
    charts = [_line_chart(title, axis, f"{curves.split} score", lines, looks)]
    if curves.setting != RATE:
        return charts
    best = {name: expect_best(points) for name, points in curves.lines.items()}
    for title, split, place in (
        ("Best of k of these rates, drawn at random (Dodge et al. 2019)", "dev", 1),
        ("Test score of the trial with the best dev score", "test", 2),
    ):
        lines = {}
        for name, expected in best.items():
            known = [(one[0], value) for one in expected if (value := one[place]) is not None]
            if known:
                lines[name] = [Point(k, value, None, f"{name}: {number(value)} for k = {k}") for k, value in known]
        if lines:
            charts.append(_line_chart(title, Axis("k", "whole"), f"expected {split} score", lines, looks))
    return charts


def _line_chart(
    title: str, axis: Axis, label: str, lines: Mapping[str, list[Point]], looks: Mapping[str, Look]
) -> Chart:
    series = [Series(plain_label(name), looks[name], points, line=True, named=True) for name, points in lines.items()]
    return score_chart(title, axis, label, series)


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


def score_chart(
    title: str, axis: Axis, label: str, series: Sequence[Series], *, detail: str = "", front: Sequence[Point] = ()
) -> Chart:
    """Return a chart of scores. ``label`` is the label of the vertical axis."""
    points = [point for one in series for point in one.points]
    scores = score_axis(label, points)
    left_out = "▼ below the axis" if any(point.y < (scores.low or 0.0) for point in points) else ""
    return Chart(title, axis, scores, series, "; ".join(filter(None, (detail, left_out))), front)


def study_charts(study: Study) -> list[Chart]:
    """Return charts of the dev score by trial and along each axis of a search with at least two scored trials."""
    trials = [one for one in study.trials if one.value is not None and one.state in ("finished", "pruned")]
    if len(trials) < 2:
        return []
    done = [one for one in trials if one.state == "finished"]
    highest = accumulate((one.value or 0.0 for one in done), max)
    best = [Point(one.number, score) for one, score in zip(done, highest, strict=True)]
    charts = [_trial_chart("Dev score by trial", Axis("trial", "whole"), [(one.number, one) for one in trials], best)]
    for axis in study.axes:
        places = [(place, one) for one in trials if (place := _position(axis, one)) is not None]
        if len(places) > 1:
            charts.append(_trial_chart(f"Dev score along {axis.key}", _chart_axis(axis), places))
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


def _chart_axis(axis: studies.Axis) -> Axis:
    if axis.choices:
        step = 1 + len(axis.choices) // MOST_NAMES
        return Axis(axis.key, ticks=[(i, str(name)) for i, name in enumerate(axis.choices) if i % step == 0])
    return Axis(f"{axis.key}, log.", "log", axis.low, axis.high) if axis.log else Axis(axis.key, low=axis.low)


def _position(axis: studies.Axis, trial: Trial) -> float | None:
    """Return the position of a trial on an axis. The position of a choice is its index."""
    value = trial.params.get(axis.key)
    if value is None or (axis.choices and str(value) not in axis.choices):
        return None
    return float(axis.choices.index(str(value))) if axis.choices else float(value)
