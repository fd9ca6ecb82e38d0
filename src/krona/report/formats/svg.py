"""The SVG format: one picture of curves over a setting, or of a table's scores and charts of their costs."""

import textwrap
from collections.abc import Callable, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any, NamedTuple

from krona.messages import amount
from krona.report.charts import scores
from krona.report.charts.chart import INK, PAPER, SOFT, Chart, Look, dark_style
from krona.report.charts.curves import find_curves
from krona.report.charts.draw import draw_points, draw_rows, new_figure, to_svg
from krona.report.charts.scores import Scored
from krona.report.notes import score_remarks
from krona.report.table import Column, Report, Table
from krona.report.wording import SEEDS, count_seeds

RANKS = 4  # with at least this number of different ranks, charts of the score against the rank can replace the costs
FRONT = "Filled, joined marks are on the Pareto front: no other row has at least this score at this cost or less."
WIDTH = 760
LETTERS = 105  # the maximum number of characters in a line of text
LINE = 17  # the height of a line of text


class Part(NamedTuple):
    """A part of the picture. The parts are below one another."""

    height: float
    draw: Callable[[Any], object]  # draws the part in a subfigure of matplotlib
    looks: Sequence[Look] = ()


def render(report: Report, out: Path | None) -> str:
    """Return an SVG of the first curves, if there are any, otherwise of the first table's average or first scores."""
    count = len(report.problems)
    notes = (
        [f"{amount(count, 'file')} could not be used. Other formats of the report give the reasons."] if count else []
    )
    for curves in find_curves(report.runs):
        charts = [part for chart in scores.curve_charts(curves) for part in _charts([chart], headings=True)]
        return _picture(curves.title, [*charts, *_texts(curves.explain_bars(), *notes)])
    for table in report.tables:
        if columns := table.score_columns:
            return _table(table, columns[0], notes)
    empty = (
        f"{report.empty.text} {report.empty.command}"
        if report.empty
        else "This table has no scores to draw. Use another format."
    )
    return _picture(report.title, _texts(empty, *notes))


def _table(table: Table, column: Column, below_all: Sequence[str]) -> str:
    rows = scores.scored_rows(table, column)
    title = f"{column.label}: {table.heading}"
    charts = scores.cost_charts(column, rows)
    notes = [*score_remarks(table, column), *below_all]
    seeds = any(row.cell.over_seeds for row in rows)
    if charts and any(one.named for one in charts[0].series):  # methods of several sizes
        bars = f"Bars: over seeds ({SEEDS})." if seeds else ""
        return _picture(title, [*_texts(_head(table, rows, bold=False)), *_charts(charts[:1]), *_texts(bars, *notes)])
    label = f"{column.label}, score"
    row_chart = Part(
        30.0 * len(rows) + 54, lambda place: draw_rows(place.subplots(), label, rows), [row.look for row in rows]
    )
    below = _rank_charts(column, rows, charts) or charts
    front = FRONT if any(chart.front for chart in below) else ""
    above = [*_texts(_head(table, rows, bold=True)), row_chart, *_texts(_explain_lines(rows))]
    return _picture(title, [*above, *_charts(below), *_texts(front, *notes)])


def _rank_charts(column: Column, rows: Sequence[Scored], charts: Sequence[Chart]) -> list[Chart]:
    """Return charts against ranks and time, if the rows have about equally many parameters and at least four ranks."""
    ranks = {row.row.cell("rank").value for row in rows}
    sizes = [run.result.trainable_params or 0 for row in rows for run in row.cell.runs]
    if len(ranks) < RANKS or max(sizes) >= scores.SEVERAL * min(sizes):
        return []
    return [*scores.rank_charts(column, rows), *(chart for chart in charts if "time" in chart.title)]


def _head(table: Table, rows: Sequence[Scored], *, bold: bool) -> str:
    seeds = sorted({count_seeds(row.cell) for row in rows})
    count = amount(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    marked = " Bold: the best, and rows that are not significantly different from it."
    return f"{count}.{marked if bold and any(row.cell.best for row in rows) else ''} {table.caution or ''}".strip()


def _explain_lines(rows: Sequence[Scored]) -> str:
    """Return sentences that explain the lines and the ring of a row, if a row has them."""
    words = [f"Upper line: over seeds ({SEEDS})."] if any(row.cell.over_seeds for row in rows) else []
    if any(row.cell.test_interval for row in rows):
        words.append(f"{'Lower line' if words else 'Line'}: over test sets (bootstrap, 95 %).")
    words += ["Ring: the paper."] if any(row.cell.paper is not None for row in rows) else []
    return " ".join(words)


def _texts(*lines: str) -> list[Part]:
    """Return a part for each line of text that is not empty."""
    parts = []
    for wrapped in (textwrap.wrap(line, LETTERS) for line in lines if line):
        draw = methodcaller("text", 0.02, 0.5, "\n".join(wrapped), fontsize=12, color=SOFT.light, va="center")
        parts.append(Part(LINE * len(wrapped) + 6.0, draw))
    return parts


def _charts(charts: Sequence[Chart], *, headings: bool = False) -> list[Part]:
    """Return a part with the charts side by side, or no part without charts. With ``headings``, they have titles."""

    def draw(place: Any) -> None:
        for axes, chart in zip(place.subplots(1, len(charts), squeeze=False)[0], charts, strict=True):
            draw_points(axes, chart)
            if headings:
                axes.set_title(chart.title, loc="left", fontsize=12, color=INK.light)

    looks = [series.look for chart in charts for series in chart.series]
    return [Part(320.0 if len(charts) == 1 else 240.0, draw, looks)] if charts else []


def _picture(title: str, parts: Sequence[Part]) -> str:
    """Return the text of an SVG file with the parts below one another."""
    heights = [34.0, *(part.height for part in parts)]
    style = dark_style(look for part in parts for look in part.looks)
    with new_figure(WIDTH, sum(heights)) as figure:
        figure.patch.set(facecolor=PAPER.light)
        rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False, facecolor="none")[:, 0]
        rows[0].text(0.02, 0.5, title, fontsize=15, fontweight="bold", color=INK.light, va="center")
        for part, place in zip(parts, rows[1:], strict=True):
            part.draw(place)
        return to_svg(figure, title, style=f"text{{font-family:system-ui,sans-serif}}{style}")
