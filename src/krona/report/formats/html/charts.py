"""The charts of the page: for each column of scores, for curves of a setting and for studies."""

from collections.abc import Sequence

from krona.outputs.studies import Study
from krona.report import curves, pictures, text
from krona.report.charts.draw import Chart, draw
from krona.report.charts.looks import dark_style
from krona.report.costs import QUANTITIES, Standing, same_digits
from krona.report.formats.html.markup import escape, label, mark, table
from krona.report.table import Column, Report, Table

MOST_COLUMNS = 12  # of all tables together with charts; beyond, only the first of a table
MOST_TABLES = 12
MANY = 14  # rows from which lists of rows are folded


class Charts:
    """Draws the page's charts and collects their looks."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.charts: list[Chart] = []
        every = [len(pictures.score_columns(table)) for table in report.tables]
        self.all_columns = sum(every) <= MOST_COLUMNS

    def style(self) -> str:
        return dark_style(look for chart in self.charts for look in chart.looks)

    def of_table(self, number: int, shown: Table) -> str:
        """Return the charts of a table: those of its first column of scores, the others' folded."""
        columns = pictures.score_columns(shown)
        if number >= MOST_TABLES or not columns:
            return ""
        looks = pictures.scored_rows(shown, columns[0])
        keys = "".join(f"<span>{mark(look)} {label(row.label)} {escape(row.differs)}</span>" for row, _, look in looks)
        keys = f'<div class="keys">{keys}</div>'
        if len(looks) > MANY:
            keys = f"<details><summary>The marks of the {len(looks)} rows</summary>{keys}</details>"
        parts = [f'<h3 id="charts-{number}">Charts</h3>{keys}{self._column(shown, columns[0], others=True)}']
        for column in columns[1:] if self.all_columns else ():
            if content := self._column(shown, column, others=False):
                parts.append(f"<details><summary>Charts of {escape(column.label)}</summary>{content}</details>")
        return "".join(parts)

    def _column(self, shown: Table, column: Column, *, others: bool) -> str:
        rows = pictures.scored_rows(shown, column)
        standings = pictures.cost_standings(shown, column, rows)
        costs = {cost: pictures.cost_chart(column, cost, rows, each) for cost, each in standings.items()}
        first = [costs[cost] for cost in pictures.FIRST if cost in costs]
        first += [chart for chart in [pictures.epoch_chart(column, rows)] if chart]
        parts = [self._grid(first), _front_table(rows, {cost: standings[cost] for cost in pictures.FIRST if cost in costs})]
        if others:
            more = [chart for cost, chart in costs.items() if cost not in pictures.FIRST]
            more += [*pictures.rank_charts(column, rows), *pictures.shape_charts(column, rows)]
            folded = self._grid(more)
            parts += [f"<details><summary>Score against other costs and ranks</summary>{folded}</details>"] if more else []
        return "".join(parts)

    def of_curves(self) -> str:
        """Return the charts of scores over learning rates and training rows."""
        found = curves.curves_of(self.report.runs)
        parts = [
            f"<h3>{escape(one.title)}</h3>{self._grid(pictures.curve_charts(one), wide=True)}"
            f"{''.join(f'<p>{line}</p>' for line in curves.bar_words(one))}"
            for one in found
        ]
        return f'<section><h2 id="curves">Scores over a setting</h2>{"".join(parts)}</section>\n' if parts else ""

    def of_study(self, study: Study) -> str:
        return self._grid(pictures.study_charts(study))

    def _grid(self, charts: Sequence[Chart], *, wide: bool = False) -> str:
        self.charts += charts
        width, height = (560, 300) if wide else (440, 280)
        figures = "".join(
            f"<figure><figcaption>{escape(chart.title)} <small>{escape(chart.detail)}</small></figcaption>"
            f"{draw(chart, width=width, height=height)}</figure>"
            for chart in charts
        )
        return f'<div class="charts{" wide" * wide}">{figures}</div>' if figures else ""


def _heading(cost: str) -> str:
    axis = QUANTITIES[cost].axis
    return axis[:1].upper() + axis[1:]


def _front_table(rows: pictures.Scored, standings: dict[str, list[Standing | None]]) -> str:
    """Return who is on the Pareto front of each cost, and how sure that is."""
    if not standings:
        return ""
    heads = ["Row", *(head for cost in standings for head in (_heading(cost), "On the front"))]
    digits = {
        cost: 0 if cost == "params" else same_digits(one.cost / QUANTITIES[cost].unit for one in each if one)
        for cost, each in standings.items()
    }
    lines = []
    for i, (row, _, look) in enumerate(rows):
        cells = [f"{mark(look)} {label(row.label)} {escape(row.differs)}"]
        for cost, each in standings.items():
            one = each[i]
            spent = text.NOTHING if one is None else f"{one.cost / QUANTITIES[cost].unit:,.{digits[cost]}f}"
            sure = "" if one is None or one.probability is None else f", {100 * one.probability:.0f} %"
            cells += [spent, text.NOTHING if one is None else f"{'yes' if one.on_front else 'no'}{sure}"]
        lines.append(cells)
    known = any(one and one.probability is not None for each in standings.values() for one in each)
    note = ("Percent: the probability to be on the front, over 1,000 bootstrap draws of each row's seeds."
            if known else "One seed each: the probability to be on the front is not known.")  # fmt: skip
    return (
        f'<details class="fronts"{" open" if len(rows) <= MANY else ""}>'
        f"<summary>Who is on the Pareto front, and how sure that is</summary>{table('Pareto front', heads, lines)}"
        f"<p>{note}</p></details>"
    )
