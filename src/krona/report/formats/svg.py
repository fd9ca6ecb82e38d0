"""The SVG format: one picture of curves over a setting, or of a table's scores and charts of their costs."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class RowChart:
    """A chart with one score and its intervals in each row. ``label`` is the label of the axis of scores."""

    label: str
    rows: Sequence[Scored]


Part = str | RowChart | Sequence[Chart]  # a sentence, a chart of rows, or charts side by side


def render(report: Report, out: Path | None) -> str:
    """Return an SVG of the first curves, if there are any, otherwise of the first table's average or first scores."""
    count = len(report.problems)
    notes = (
        [f"{amount(count, 'file')} could not be used. Other formats of the report give the reasons."] if count else []
    )
    for curves in find_curves(report.runs):
        charts = [[chart] for chart in scores.curve_charts(curves)]
        return _picture(curves.title, [*charts, curves.explain_bars(), *notes])
    for table in report.tables:
        if columns := table.score_columns:
            return _table(table, columns[0], notes)
    empty = (
        f"{report.empty.text} {report.empty.command}"
        if report.empty
        else "This table has no scores to draw. Use another format."
    )
    return _picture(report.title, [empty, *notes])


def _table(table: Table, column: Column, below_all: Sequence[str]) -> str:
    rows = scores.scored_rows(table, column)
    title = f"{column.label}: {table.heading}"
    charts = scores.cost_charts(column, rows)
    notes = [*score_remarks(table, column), *below_all]
    seeds = any(row.cell.over_seeds for row in rows)
    if charts and any(one.named for one in charts[0].series):  # methods of several sizes
        bars = f"Bars: over seeds ({SEEDS})." if seeds else ""
        return _picture(title, [_head(table, rows, bold=False), charts[:1], bars, *notes], headings=False)
    score_rows = RowChart(f"{column.label}, score (0–100)", rows)
    below = _rank_charts(column, rows, charts) or charts
    front = FRONT if any(chart.front for chart in below) else ""
    parts: list[Part] = [_head(table, rows, bold=True), score_rows, _explain_lines(rows), below, front, *notes]
    return _picture(title, parts, headings=False)


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


def _picture(title: str, parts: Iterable[Part], *, headings: bool = True) -> str:
    """Return the text of an SVG file with the parts below one another. With ``headings``, charts have their titles."""
    shown: list[Part] = [part for part in parts if part]
    heights = [34.0, *map(_height, shown)]
    with new_figure(WIDTH, sum(heights)) as figure:
        figure.patch.set(facecolor=PAPER.light)
        rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False, facecolor="none")[:, 0]
        rows[0].text(0.02, 0.5, title, fontsize=15, fontweight="bold", color=INK.light, va="center")
        for part, place in zip(shown, rows[1:], strict=True):
            _draw_part(place, part, headings=headings)
        return to_svg(figure, title, style=f"text{{font-family:system-ui,sans-serif}}{dark_style(_looks(shown))}")


def _height(part: Part) -> float:
    if isinstance(part, str):
        return LINE * len(textwrap.wrap(part, LETTERS)) + 6.0
    if isinstance(part, RowChart):
        return 30.0 * len(part.rows) + 54
    return 320.0 if len(part) == 1 else 240.0


def _draw_part(place: Any, part: Part, *, headings: bool) -> None:
    if isinstance(part, str):
        lines = "\n".join(textwrap.wrap(part, LETTERS))
        place.text(0.02, 0.5, lines, fontsize=12, color=SOFT.light, va="center")
    elif isinstance(part, RowChart):
        draw_rows(place.subplots(), part.label, part.rows)
    else:
        for axes, chart in zip(place.subplots(1, len(part), squeeze=False)[0], part, strict=True):
            draw_points(axes, chart)
            if headings:
                axes.set_title(chart.title, loc="left", fontsize=12, color=INK.light)


def _looks(parts: Iterable[Part]) -> list[Look]:
    found: list[Look] = []
    for part in parts:
        if isinstance(part, RowChart):
            found += [row.look for row in part.rows]
        elif not isinstance(part, str):
            found += [series.look for chart in part for series in chart.series]
    return found
