"""One picture of a report: curves of a setting, or a row for each method with the score against the costs below."""

from collections.abc import Iterable, Sequence

from krona.messages import amount
from krona.report import text
from krona.report.charts import scores
from krona.report.charts.chart import Chart, RowChart, ScoreRow
from krona.report.charts.picture import Part, picture
from krona.report.charts.scores import Scored
from krona.report.curves import bar_words, curves_of
from krona.report.table import Column, Report, Table, Target

RANKS = 4  # so many different ranks are a question about rank
FRONT = "Filled and joined is the Pareto front, where no other row scores as high at as low a cost."


def render(report: Report, target: Target) -> str:
    """Return an SVG of the first task with curves, otherwise of the first table with scores: of its average if any."""
    if curves := curves_of(report.runs):
        charts: list[Part] = [[chart] for chart in scores.curve_charts(curves[0])]
        return picture(curves[0].title, [*charts, *bar_words(curves[0])])
    for table in report.tables:
        if columns := table.score_columns():
            return _table(table, columns[0])
    return picture(report.title, [" ".join(report.empty) if report.empty else "No finished run."])


def _table(table: Table, column: Column) -> str:
    rows = scores.scored_rows(table, column)
    title = f"{column.label}: {table.heading}"
    standings = scores.cost_standings(table, column, rows)
    charts = [
        scores.cost_chart(column, cost, rows, standings[cost], named=True) for cost in scores.FIRST if cost in standings
    ]
    notes = text.remarks(table, column)
    if charts and any(one.named for one in charts[0].series):  # methods of several sizes
        bars = [f"Bars: over seeds ({kinds})." for kinds in text.over_seeds(row.cell for row in rows)]
        return picture(title, [*_head(table, rows, bold=False), charts[:1], *bars, *notes], headings=False)
    score_rows = RowChart(title, f"{column.label}, score (0–100)", [_row(row) for row in rows])
    below = _rank_charts(column, rows, charts) or charts
    front = [FRONT] if any(chart.front for chart in below) else []
    parts: Sequence[Part] = [*_head(table, rows, bold=True), score_rows, *_lines_are(rows), below, *front, *notes]
    return picture(title, parts, headings=False)


def _rank_charts(column: Column, rows: Sequence[Scored], charts: Sequence[Chart]) -> list[Chart]:
    """Return the charts of rows that have one size and several ranks: over the ranks and time."""
    ranks = {row.row.cells["rank"].value for row in rows if "rank" in row.row.cells}
    sizes = [run.result.trainable_params or 0 for row in rows for run in row.cell.runs]
    if len(ranks) < RANKS or max(sizes) >= scores.SEVERAL * min(sizes):
        return []
    return [*scores.rank_charts(column, rows), *(chart for chart in charts if "time" in chart.title)]


def _head(table: Table, rows: Sequence[Scored], *, bold: bool) -> Iterable[str]:
    seeds = sorted({text.fewest_seeds(row.cell) for row in rows})
    count = amount(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    marked = bold and any(row.cell.best for row in rows)
    bold_is = " Bold: the best, and what is not significantly different from it." if marked else ""
    yield f"{count}.{bold_is} {(table.section and table.section.caution) or ''}".strip()


def _lines_are(rows: Sequence[Scored]) -> Iterable[str]:
    """Return what the lines of a row are, as far as some row has them."""
    told = [f"Upper line: over seeds ({kinds})." for kinds in text.over_seeds(row.cell for row in rows)]
    if any(row.cell.test_interval for row in rows):
        told.append(f"{'Lower line' if told else 'Line'}: over test sets (bootstrap, 95 %).")
    told += ["Ring: the paper."] if any(row.cell.paper is not None for row in rows) else []
    yield " ".join(told)


def _row(row: Scored) -> ScoreRow:
    cell = row.cell
    shown = f"{text.value(cell)}{text.warning(cell)} {text.spread(cell)}".strip()
    return ScoreRow(
        row.name, row.row.differs, row.look, row.score, cell.over_seeds, cell.test_interval, cell.paper, shown,
        bold=cell.best or cell.tied,
    )  # fmt: skip
