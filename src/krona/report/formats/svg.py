"""One picture of a report: curves of a setting, or a row for each method with the score against the costs below."""

from collections.abc import Sequence

from krona.messages import amount
from krona.report import pictures, text
from krona.report.charts.draw import Chart, draw
from krona.report.charts.looks import Look
from krona.report.charts.picture import WIDTH, Part, chart_width, picture
from krona.report.charts.rows import ScoreRow, draw_rows
from krona.report.curves import bar_words, curves_of
from krona.report.table import Cell, Column, Report, Row, Table, Target

RANKS = 4  # so many different ranks are a question about rank
FRONT = "Filled and joined is the Pareto front, where no other row scores as high at as low a cost."


def render(report: Report, target: Target) -> str:
    """Return an SVG of the first task with curves, otherwise of the first table with scores: of its average if any."""
    if curves := curves_of(report.runs):
        charts = pictures.curve_charts(curves[0])
        parts: list[Part] = []
        for number, chart in enumerate(charts):
            parts += [[draw(chart, width=WIDTH - 24, height=320)], *([] if number else bar_words(curves[0]))]
            parts += [f"{charts[number + 1].title}:"] if number + 1 < len(charts) else []
        return picture(curves[0].title, parts, [look for chart in charts for look in chart.looks])
    for table in report.tables:
        if columns := pictures.score_columns(table):
            return _table(table, columns[0])
    return picture(report.title, [" ".join(report.empty) if report.empty else "No finished run."], [])


def _table(table: Table, column: Column) -> str:
    rows = pictures.scored_rows(table, column)
    title = f"{column.label}: {table.heading}"
    charts = _charts(column, rows, table)
    wide = [chart for chart in charts if any(one.named for one in chart.series)]
    parts: list[Part] = [_head(table, [cell for _, cell, _ in rows], bold=not wide)]
    if wide:
        parts.append([draw(wide[0], width=WIDTH - 24, height=340)])
        parts += [f"Bars: over seeds ({kinds})." for kinds in text.over_seeds(cell for _, cell, _ in rows)]
    else:
        parts.append([draw_rows(title, f"{column.label}, score (0–100)", [_row(*one) for one in rows], width=WIDTH - 24)])
        parts.append(_lines_are([cell for _, cell, _ in rows]))
        if charts:
            parts.append([draw(chart, width=chart_width(len(charts)), height=230) for chart in charts])
            parts += [FRONT] if any(chart.front for chart in charts) else []
    parts += text.remarks(table, column)
    looks = [look for _, _, look in rows] + [look for chart in charts for look in chart.looks]
    return picture(title, parts, looks)


def _charts(column: Column, rows: pictures.Scored, table: Table) -> list[Chart]:
    """Return one chart where methods have several sizes, otherwise those of the costs or of the ranks."""
    standings = pictures.cost_standings(table, column, rows)
    charts = [
        pictures.cost_chart(column, cost, rows, standings[cost], named=True)
        for cost in pictures.FIRST if cost in standings
    ]  # fmt: skip
    if any(one.named for one in charts[0].series) if charts else False:
        return charts[:1]
    ranks = pictures.rank_charts(column, rows)
    sizes = [run.result.trainable_params or 0 for _, cell, _ in rows for run in cell.runs]
    several = len({row.cells["rank"].value for row, _, _ in rows if "rank" in row.cells}) >= RANKS
    if ranks and several and max(sizes) < pictures.SEVERAL * min(sizes):
        return [*ranks, *(chart for chart in charts if "time" in chart.title)]
    return charts


def _head(table: Table, cells: Sequence[Cell], *, bold: bool) -> str:
    seeds = sorted({text.fewest_seeds(cell) for cell in cells})
    count = amount(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    marked = bold and any(cell.best for cell in cells)
    bold_is = " Bold: the best, and what is not significantly different from it." if marked else ""
    return f"{count}.{bold_is} {(table.section and table.section.caution) or ''}".strip()


def _lines_are(cells: Sequence[Cell]) -> str:
    """Return what the lines of a row are, as far as some row has them."""
    told = [f"Upper line: over seeds ({kinds})." for kinds in text.over_seeds(cells)]
    if any(cell.test_interval for cell in cells):
        told.append(f"{'Lower line' if told else 'Line'}: over test sets (bootstrap, 95 %).")
    told += ["Ring: the paper."] if any(cell.paper is not None for cell in cells) else []
    return " ".join(told)


def _row(row: Row, cell: Cell, look: Look) -> ScoreRow:
    shown = f"{text.value(cell)}{text.warning(cell)} {text.spread(cell)}".strip()
    return ScoreRow(
        text.plain_label(row.label), row.differs, look, cell.value or 0.0, cell.over_seeds, cell.test_interval,
        cell.paper, shown, cell.best or cell.tied,
    )  # fmt: skip
