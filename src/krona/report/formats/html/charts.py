"""The charts of the page: for each column of scores, for curves of a setting and for studies."""

from collections.abc import Sequence

from krona.report import curves, text
from krona.report.charts import scores
from krona.report.charts.chart import Chart
from krona.report.charts.draw import draw
from krona.report.charts.looks import dark_style, row_looks
from krona.report.charts.scores import Scored
from krona.report.charts.studies import PRUNED
from krona.report.costs import QUANTITIES, Standing, same_digits
from krona.report.formats.html.markup import escape, label, mark, table
from krona.report.table import Column, Report, Table

MOST_COLUMNS = 12  # of all tables together with charts; beyond, only the first of a table
MOST_TABLES = 12
MANY = 14  # rows from which lists of rows are folded
DRAWN = "Draws: 1,000 bootstrap draws of each row's seeds; the share in which the row is on the front."


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
    shown = report.tables[number]
    columns = shown.score_columns()
    if number >= MOST_TABLES or not columns:
        return ""
    rows = scores.scored_rows(shown, columns[0])
    keys = "".join(f"<span>{_row_name(row)}</span>" for row in rows)
    keys = f'<div class="keys">{keys}</div>'
    keys = _folded(f"The marks of the {len(rows)} rows", keys) if len(rows) > MANY else keys
    parts = [f'<h3 id="charts-{number}">Charts</h3>{keys}{_column_charts(shown, columns[0], others=True)}']
    if sum(len(one.score_columns()) for one in report.tables) <= MOST_COLUMNS:
        parts += [
            _folded(f"Charts of {column.label}", _column_charts(shown, column, others=False)) for column in columns[1:]
        ]
    return "".join(parts)


def curve_charts(report: Report) -> str:
    """Return the charts of scores over learning rates and training rows."""
    parts = [
        f"<h3>{escape(one.title)}</h3>{grid(scores.curve_charts(one), wide=True)}"
        f"{''.join(f'<p>{line}</p>' for line in curves.bar_words(one))}"
        for one in curves.curves_of(report.runs)
    ]
    return f'<section><h2 id="curves">Scores over a setting</h2>{"".join(parts)}</section>\n' if parts else ""


def _column_charts(shown: Table, column: Column, *, others: bool) -> str:
    rows = scores.scored_rows(shown, column)
    standings = scores.cost_standings(shown, column, rows)
    costs = {cost: scores.cost_chart(column, cost, rows, each) for cost, each in standings.items()}
    first = [costs[cost] for cost in scores.FIRST if cost in costs] + scores.epoch_charts(column, rows)
    fronts = _front_table(rows, {cost: standings[cost] for cost in scores.FIRST if cost in costs})
    more = [chart for cost, chart in costs.items() if cost not in scores.FIRST] + scores.rank_charts(column, rows)
    folded = _folded("Score against other costs and ranks", grid(more)) if others else ""
    return grid(first) + fronts + folded


def _front_table(rows: Sequence[Scored], standings: dict[str, list[Standing | None]]) -> str:
    """Return who is on the Pareto front of each cost, and how sure that is."""
    columns = {}
    for cost, each in standings.items():
        one = QUANTITIES[cost]
        digits = 0 if cost == "params" else same_digits(found.cost / one.unit for found in each if found)
        columns[one.axis[:1].upper() + one.axis[1:]] = [
            f"{found.cost / one.unit:,.{digits}f}" if found else text.NOTHING for found in each
        ]
        columns["On the front" + " " * len(columns)] = [found.text if found else text.NOTHING for found in each]
    lines = [[_row_name(row), *(column[i] for column in columns.values())] for i, row in enumerate(rows)]
    several = any(found and found.probability is not None for each in standings.values() for found in each)
    content = table("Pareto front", ["Row", *columns], lines) + (f"<p>{DRAWN}</p>" if several else "")
    summary = "Who is on the Pareto front, and how sure that is"
    return f'<div class="fronts">{_folded(summary, content, shown=len(rows) <= MANY)}</div>' if columns else ""


def _row_name(row: Scored) -> str:
    return f"{mark(row.look)} {label(row.row.label)} {escape(row.row.differs)}"


def _folded(summary: str, content: str, *, shown: bool = False) -> str:
    opened = " open" if shown else ""
    return f"<details{opened}><summary>{escape(summary)}</summary>{content}</details>" if content else ""
