"""The charts of a report: scores against costs, over epochs and over a setting, and the trials of a study."""

from collections.abc import Sequence
from statistics import fmean

from krona.outputs.studies import Axis, Choice, Study, Trial
from krona.report.charts.axes import ChartAxis, linear_axis, log_axis, named_axis, score_axis, whole_axis
from krona.report.charts.draw import Chart, Point, Series
from krona.report.charts.looks import Look, method_look, row_looks
from krona.report.costs import COSTS, QUANTITIES, Standing, standings
from krona.report.curves import RATE, Curves, best_of
from krona.report.selection import used_shape
from krona.report.table import Cell, Column, Row, Table
from krona.report.text import number, plain_label, spread_words

FIRST = ("params", "time", "memory")  # of the costs
SCORES = ("average", "task", "beside")  # kinds of columns; the first of a table is what the page begins with
SEVERAL = 1.2  # of a method's largest over its smallest size: less is one size, such as that of several shapes
MOST_LINES = 12  # of the chart of epochs: the best rows
Scored = list[tuple[Row, Cell, Look]]


def score_columns(table: Table) -> list[Column]:
    """Return the columns that charts show, the average first."""
    known = {key for row in table.rows for key, cell in row.cells.items() if cell.value is not None}
    columns = [column for column in table.columns if column.kind in SCORES and column.key in known]
    return sorted(columns, key=lambda column: SCORES.index(column.kind)) if table.section else []


def scored_rows(table: Table, column: Column) -> Scored:
    """Return the rows that have a score in the column, each with its look."""
    looks = row_looks([row.method for row in table.rows])
    pairs = zip(table.rows, looks, strict=True)
    return [(row, row.cells[column.key], look) for row, look in pairs
            if row.cells.get(column.key, Cell()).value is not None]  # fmt: skip


def cost_standings(table: Table, column: Column, rows: Scored) -> dict[str, list[Standing | None]]:
    """Return for each cost that differs between rows the standing of each row."""
    found = {}
    for cost in COSTS:
        each = standings([cell.runs for _, cell, _ in rows], table.scored_on(column), cost)
        if len({one.cost for one in each if one}) > 1:
            found[cost] = each
    return found


def cost_chart(column: Column, cost: str, rows: Scored, each: Sequence[Standing | None], *, named: bool = False) -> Chart:
    """Return the score against a cost with the Pareto front; a method of several sizes is a line over parameters."""
    unit = QUANTITIES[cost].unit
    known = [(row, cell, look, one) for (row, cell, look), one in zip(rows, each, strict=True) if one]
    joined = _sizes(known) if cost == "params" else {}
    points = {id(row): _standing_point(row, cell, one, unit, labelled=not joined) for row, cell, _, one in known}
    series = [
        Series(label, method_look(sized[0].method), [points[id(row)] for row in sized], line=True, named=named)
        for label, sized in joined.items()
    ]
    series += [Series(row.label, look, [points[id(row)]]) for row, _, look, _ in known if row.label not in joined]
    front = sorted((one for one in points.values() if not one.hollow), key=lambda one: (one.x, one.y))
    chart = _against(cost, column, series)
    return Chart(chart.title, chart.x, chart.y, series, "filled and joined: the Pareto front", () if joined else front)


def _standing_point(row: Row, cell: Cell, one: Standing, unit: float, *, labelled: bool) -> Point:
    sure = ("yes" if one.on_front else "no") if one.probability is None else f"{100 * one.probability:.0f} %"
    label = f"{plain_label(row.label)} {row.differs.rpartition('=')[2]}".strip() if one.on_front and labelled else ""
    text = f"{score_text(row, cell)}; {one.cost / unit:,.5g}; on the front: {sure}"
    return Point(one.cost / unit, cell.value or 0.0, cell.over_seeds, text, label, hollow=not one.on_front)


def _sizes(known: Sequence[tuple[Row, Cell, Look, Standing]]) -> dict[str, list[Row]]:
    """Return the rows, by size, of each method that has several sizes."""
    sizes: dict[str, list[tuple[float, Row]]] = {}
    for row, _, _, one in known:
        sizes.setdefault(row.label, []).append((one.cost, row))
    ordered = {label: sorted(found, key=lambda one: one[0]) for label, found in sizes.items()}
    return {label: [row for _, row in found] for label, found in ordered.items()
            if found[0][0] > 0 and found[-1][0] >= SEVERAL * found[0][0]}  # fmt: skip


def rank_charts(column: Column, rows: Scored) -> list[Chart]:
    """Return the score against the highest rank that an update can have, and against the rank of what was trained."""
    charts = []
    for name in ("rank", "effective"):
        known = [(row, cell, look, found) for row, cell, look in rows if (found := row.cells.get(name, Cell()).value)]
        if len({found for *_, found in known}) > 1:
            series = [
                Series(row.label, look, [Point(found, cell.value or 0.0, cell.over_seeds,
                                               f"{score_text(row, cell)}; rank {number(found, 1)}")])
                for row, cell, look, found in known
            ]  # fmt: skip
            charts.append(_against(name, column, series))
    return charts


def shape_charts(column: Column, rows: Scored) -> list[Chart]:
    """Return the score by shape of A in order of rank; none unless several shapes were used."""
    ranks: dict[str, int] = {}
    for _, cell, _ in rows:
        for run in cell.runs:
            if shape := used_shape(run.result):
                ranks[shape] = run.result.provenance.get("update_rank") or 0
    names = sorted(ranks, key=lambda shape: ranks[shape])
    if len(names) < 2:
        return []
    series = []
    for row, cell, look in rows:
        if shape := next((found for run in cell.runs if (found := used_shape(run.result))), None):
            series.append(Series(row.label, look, [Point(names.index(shape), cell.value or 0.0, cell.over_seeds,
                                                         score_text(row, cell))]))  # fmt: skip
    return [_chart("Score by shape of A", named_axis("shape of A, rows x columns", names), column, series)]


def epoch_chart(column: Column, rows: Scored) -> Chart | None:
    """Return the dev score by epoch: mean, lowest and highest seed of the best rows; None for a single epoch."""
    best = {id(row) for row, _, _ in sorted(rows, key=lambda one: -(one[1].value or 0.0))[:MOST_LINES]}
    series = []
    for row, cell, look in rows:
        if column.kind == "task" and id(row) in best and len(points := _epochs(row, cell)) > 1:
            series.append(Series(row.label, look, points, line=True, band=True, marks="last"))
    if not series:
        return None
    every = [point for one in series for point in one.points]
    scores = score_axis("dev score (0–100)", [one.y for one in every], [one.ends for one in every if one.ends])
    detail = f"mean, lowest and highest seed{f'; the best {MOST_LINES} rows' if len(rows) > MOST_LINES else ''}"
    return Chart("Dev score by epoch", whole_axis("epoch", [one.x for one in every]), scores, series, detail)


def _epochs(row: Row, cell: Cell) -> list[Point]:
    by_epoch: dict[int, list[float]] = {}
    for run in cell.runs:
        for entry in run.whole.dev_curve:
            if entry.get("score") is not None:
                by_epoch.setdefault(entry["epoch"], []).append(entry["score"])
    return [
        Point(epoch, fmean(scores), (min(scores), max(scores)),
              f"{row.name}: {number(fmean(scores))} in epoch {epoch} ({spread_words((min(scores), max(scores)))})")
        for epoch, scores in sorted(by_epoch.items())
    ]  # fmt: skip


def curve_charts(curves: Curves) -> list[Chart]:
    """Return the scores over the setting; of learning rates also what the best of k trials is worth."""
    rates = curves.setting == RATE
    lines = {
        label: [Point(one.x, one.score, one.interval, f"{label}: {number(one.score)} at {one.x:g}") for one in points]
        for label, points in curves.lines.items()
    }
    looks = {label: method_look(points[0].runs[0].result.method) for label, points in curves.lines.items()}
    label = ("learning rate" if rates else "training rows") + ", log."
    score = f"{curves.split} score (0–100)"
    values = sorted({point.x for points in lines.values() for point in points})
    title = f"{curves.split.capitalize()} score by {'learning rate' if rates else 'training rows'}"
    charts = [_lines(title, log_axis(label, values, ticks=values), score, lines, looks)]
    if rates:
        best = {name: best_of(points) for name, points in curves.lines.items()}
        for title, place in (("Best of k of these rates, drawn at random (Dodge et al. 2019)", 1),
                             ("Test score of the trial that dev chooses", 2)):  # fmt: skip
            known = {
                name: [Point(one[0], value, None, f"{name}: {number(value)} for k = {one[0]}")
                       for one in found if (value := one[place]) is not None]
                for name, found in best.items()
            }  # fmt: skip
            known = {name: points for name, points in known.items() if points}
            if known:
                axis = whole_axis("k", [point.x for points in known.values() for point in points])
                charts.append(_lines(title, axis, f"expected {('dev', 'test')[place - 1]} score", known, looks))
    return charts


def _lines(title: str, axis: ChartAxis, score: str, lines: dict[str, list[Point]], looks: dict[str, Look]) -> Chart:
    series = [Series(plain_label(name), looks[name], points, line=True, named=True) for name, points in lines.items()]
    every = [point for points in lines.values() for point in points]
    ends = [point.ends for point in every if point.ends]
    return Chart(title, axis, score_axis(score, [point.y for point in every], ends), series)


def study_charts(study: Study) -> list[Chart]:
    """Return the dev score by trial and along each axis of a search; none for a single trial."""
    trials = [one for one in study.trials if one.value is not None and one.state in ("finished", "pruned")]
    if len(trials) < 2:
        return []
    best: list[Point] = []
    for one in trials:
        if one.state == "finished" and one.value is not None:
            best.append(Point(one.number, max([one.value, *(point.y for point in best)])))
    charts = [_trials("Dev score by trial", whole_axis("trial", [one.number for one in trials]), trials,
                      [one.number for one in trials], best)]  # fmt: skip
    for axis in study.axes:
        there = [(one, place) for one in trials
                 if (place := _place(axis.choices, one.params.get(axis.key))) is not None]  # fmt: skip
        if len(there) > 1:
            places = [place for _, place in there]
            charts.append(_trials(f"Dev score along {axis.key}", _study_axis(axis, places), [one for one, _ in there],
                                  places))  # fmt: skip
    return charts


def _trials(title: str, axis: ChartAxis, trials: Sequence[Trial], xs: Sequence[float], best: Sequence[Point] = ()) -> Chart:
    series = []
    for state, look in (("finished", method_look("full")), ("pruned", Look("#5b7083", "#a9bccd", "x"))):
        points = [
            Point(x, one.value or 0.0, None, f"trial {one.number}, {state}: {number(one.value or 0.0)}")
            for one, x in zip(trials, xs, strict=True) if one.state == state
        ]  # fmt: skip
        series += [Series(state, look, points)] if points else []
    scores = score_axis("dev score (0–100)", [one.value or 0.0 for one in trials], [])
    detail = "dots finished, crosses pruned, line the best until then" if best else ""
    return Chart(title, axis, scores, series, detail, best)


def _study_axis(axis: Axis, places: Sequence[float]) -> ChartAxis:
    if axis.choices:
        return named_axis(axis.key, [str(one) for one in axis.choices])
    ends = [end for end in (axis.low, axis.high) if end is not None]
    return log_axis(f"{axis.key}, log.", [*places, *ends]) if axis.log else linear_axis(axis.key, [*places, *ends])


def _place(choices: tuple[Choice, ...], value: object) -> float | None:
    """Return where a value stands on its axis: a choice by its number."""
    if value is None or (choices and str(value) not in choices):
        return None
    return float(choices.index(str(value))) if choices else float(str(value))


def score_text(row: Row, cell: Cell) -> str:
    """Return a row's score with its interval for a tooltip."""
    return f"{row.name}: {number(cell.value or 0.0)}{f' ({spread_words(cell.over_seeds)})' if cell.over_seeds else ''}"


def _against(name: str, column: Column, series: Sequence[Series]) -> Chart:
    one = QUANTITIES[name]
    values = [point.x for each in series for point in each.points]
    positive = [value for value in values if value > 0]
    if one.logarithmic or max(positive) > 20 * min(positive):
        sizes = sorted({*values}) if any(each.line for each in series) else []
        axis = log_axis(f"{one.axis}, log.", values, ticks=sizes if len(sizes) < 8 else ())
    else:
        axis = linear_axis(one.axis, values, zero=True)
    return _chart(f"Score against {one.axis.partition(' (')[0]}", axis, column, series)


def _chart(title: str, axis: ChartAxis, column: Column, series: Sequence[Series]) -> Chart:
    points = [point for one in series for point in one.points]
    ends = [point.ends for point in points if point.ends]
    return Chart(title, axis, score_axis(f"{column.label}, score (0–100)", [one.y for one in points], ends), series)
