"""The SVG format: one picture of curves over a setting, or of a table's scores and charts of their costs."""

from collections.abc import Sequence

from krona.messages import amount
from krona.report.charts import scores
from krona.report.charts.chart import Chart
from krona.report.charts.curves import find_curves
from krona.report.charts.picture import Part, RowChart, picture
from krona.report.charts.scores import Scored
from krona.report.notes import score_remarks
from krona.report.table import Column, Report, Table, Target
from krona.report.wording import SEEDS, count_seeds

RANKS = 4  # with at least this number of different ranks, charts of the score against the rank can replace the costs
FRONT = "Filled, joined marks are on the Pareto front: no other row has at least this score at this cost or less."


def render(report: Report, target: Target) -> str:
    """Return an SVG of the first curves, if there are any, otherwise of the first table's average or first scores."""
    count = len(report.problems)
    notes = (
        [f"{amount(count, 'file')} could not be used. Other formats of the report give the reasons."] if count else []
    )
    for curves in find_curves(report.runs):
        charts = [[chart] for chart in scores.curve_charts(curves)]
        return picture(curves.title, [*charts, curves.explain_bars(), *notes])
    for table in report.tables:
        if columns := table.score_columns:
            return _table(table, columns[0], notes)
    return picture(report.title, [" ".join(report.empty) if report.empty else "No finished run.", *notes])


def _table(table: Table, column: Column, below_all: Sequence[str]) -> str:
    rows = scores.scored_rows(table, column)
    title = f"{column.label}: {table.heading}"
    charts = scores.cost_charts(column, rows)
    notes = [*score_remarks(table, column), *below_all]
    seeds = any(row.cell.over_seeds for row in rows)
    if charts and any(one.named for one in charts[0].series):  # methods of several sizes
        bars = f"Bars: over seeds ({SEEDS})." if seeds else ""
        return picture(title, [_head(table, rows, bold=False), charts[:1], bars, *notes], headings=False)
    score_rows = RowChart(f"{column.label}, score (0–100)", rows)
    below = _rank_charts(column, rows, charts) or charts
    front = FRONT if any(chart.front for chart in below) else ""
    parts: list[Part] = [_head(table, rows, bold=True), score_rows, _explain_lines(rows), below, front, *notes]
    return picture(title, parts, headings=False)


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
