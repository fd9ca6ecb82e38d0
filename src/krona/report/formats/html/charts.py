"""The charts of the page: for each column of scores, and for curves of a setting."""

from collections.abc import Sequence

from krona.report.charts import scores
from krona.report.charts.chart import Chart
from krona.report.charts.curves import find_curves
from krona.report.charts.draw import draw
from krona.report.charts.looks import dark_style, row_looks
from krona.report.charts.scores import PRUNED, Scored
from krona.report.formats.html.markup import escape, folded, label, mark
from krona.report.table import Column, Report, Table

MOST_COLUMNS = 12  # of all tables together with charts; beyond, only the first of a table
MOST_TABLES = 12
MANY = 14  # rows from which lists of rows are folded


def chart_style(report: Report) -> str:
    """Return the CSS that charts need on a dark page."""
    looks = [look for one in report.tables for look in row_looks([row.method for row in one.rows])]
    return dark_style([PRUNED, *looks])


def grid(charts: Sequence[Chart], *, wide: bool = False) -> str:
    """Return charts side by side as far as the page is wide enough."""
    width, height = (560, 300) if wide else (440, 280)
    figures = "".join(
        f"<figure><figcaption>{escape(chart.title)} <small>{escape(chart.detail)}</small></figcaption>"
        f"{draw(chart, width=width, height=height)}</figure>"
        for chart in charts
    )
    return f'<div class="charts{" wide" * wide}">{figures}</div>' if figures else ""


def table_charts(report: Report, number: int) -> str:
    """Return the charts of a table: those of its first column of scores, the others' folded."""
    table = report.tables[number]
    columns = table.score_columns
    if number >= MOST_TABLES or not columns:
        return ""
    rows = scores.scored_rows(table, columns[0])
    keys = f'<div class="keys">{"".join(f"<span>{_row_name(row)}</span>" for row in rows)}</div>'
    keys = folded(f"The marks of the {len(rows)} rows", keys) if len(rows) > MANY else keys
    parts = [f'<h3 id="charts-{number}">Charts</h3>{keys}{_column_charts(table, columns[0], others=True)}']
    if sum(len(one.score_columns) for one in report.tables) <= MOST_COLUMNS:
        for column in columns[1:]:
            parts.append(folded(f"Charts of {column.label}", _column_charts(table, column, others=False)))
    return "".join(parts)


def curve_charts(report: Report) -> str:
    """Return the charts of scores over learning rates and training rows."""
    parts = [
        f"<h3>{escape(one.title)}</h3>{grid(scores.curve_charts(one), wide=True)}<p>{escape(one.explain_bars())}</p>"
        for one in find_curves(report.runs)
    ]
    return f'<section><h2 id="curves">Scores over a setting</h2>{"".join(parts)}</section>\n' if parts else ""


def _column_charts(table: Table, column: Column, *, others: bool) -> str:
    rows = scores.scored_rows(table, column)
    costs = scores.cost_charts(column, rows)
    first = [costs[cost] for cost in scores.FIRST if cost in costs] + scores.epoch_charts(column, rows)
    more = [chart for cost, chart in costs.items() if cost not in scores.FIRST] + scores.rank_charts(column, rows)
    return grid(first) + (folded("Score against other costs and ranks", grid(more)) if others else "")


def _row_name(row: Scored) -> str:
    return f"{mark(row.look)} {label(row.row.label)} {escape(row.row.differs)}"
