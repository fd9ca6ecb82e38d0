"""The HTML format: one page with the tables, the charts and the runs behind each number. It needs no network."""

from collections.abc import Sequence
from pathlib import Path
from string import Template

from krona.report.charts import scores
from krona.report.charts.chart import Chart
from krona.report.charts.curves import find_curves
from krona.report.charts.draw import draw
from krona.report.charts.looks import dark_style, row_looks
from krona.report.charts.scores import PRUNED, Scored, study_charts
from krona.report.formats.html.markup import escape, folded, items, label, note, sentence
from krona.report.formats.html.rows import runs_of_rows, table_of_rows
from krona.report.notes import closing_notes, table_notes
from krona.report.table import Column, Report, Table, Target
from krona.report.wording import legend, summarize

HERE = Path(__file__).parent
MOST_COLUMNS = 6  # a table shows at most this number of columns; the table with all columns is folded
MOST_CHARTED = 12  # with more score columns in all tables, only the first column of each of 12 tables has charts
MANY = 14  # longer lists of rows are folded
FIRST = ("average", "task", "beside", "params", "time", "memory")  # columns of these kinds are preferred, in this order


def render(report: Report, target: Target) -> str:
    """Return the page. Its links to result.json files are relative to the folder of the target's file."""
    base = (Path.cwd() if target.file is None else target.file.parent).resolve()
    body = [_head(report), *(_section(report, i, base) for i in range(len(report.tables)))]
    if any(one.section for one in report.tables):
        words = f"{legend(report)} Click the heading of a column to sort."
        body.append(f'<p class="legend">{escape(words)}</p>')
    body += [_curve_charts(report), _closing(report)]
    looks = [look for one in report.tables for look in row_looks([row.method for row in one.rows])]
    style = (HERE / "page.css").read_text(encoding="utf-8") + dark_style([PRUNED, *looks])
    page = Template((HERE / "page.html").read_text(encoding="utf-8"))
    return page.substitute(title=escape(report.title), style=style, body="".join(body))


def _head(report: Report) -> str:
    links = [f'<a href="#table-{i}">{escape(one.heading)}</a>' for i, one in enumerate(report.tables)]
    links += [f'<a href="#closing-{i}">{escape(heading)}</a>' for i, (heading, _) in enumerate(closing_notes(report))]
    empty = f'<p class="caution">{sentence(*report.empty)}</p>' if report.empty else ""
    lines = "".join(f'<p class="lead">{sentence(line)}</p>' for line in summarize(report))
    head = f"<h1>{escape(report.title)}</h1>{lines}<p>{escape(report.counts)}</p>"
    return f"<header>{head}<nav>{''.join(links)}</nav>{empty}</header>\n"


def _section(report: Report, number: int, base: Path) -> str:
    table = report.tables[number]
    caution = f'<p class="caution">{escape(table.caution)}</p>' if table.caution else ""
    columns = _first_columns(table)
    rest = ""
    if len(columns) < len(table.columns):
        rest = folded(f"All {len(table.columns)} columns", table_of_rows(table, table.columns, number))
    notes = table_notes(table)
    missing, over_tasks = (items(note(one) for one in notes if one.kind == kind) for kind in ("missing", "tasks"))
    return f"""<section aria-labelledby="table-{number}">
<h2 id="table-{number}">{escape(table.heading)}</h2>{caution}
{table_of_rows(table, columns, number)}{rest}
{items(note(one) for one in notes if one.kind not in ("missing", "tasks"))}
{folded("Ranks, means and equivalence over the tasks", over_tasks)}
{folded("Missing or left out, with the commands", missing)}
{runs_of_rows(table, base)}
{_table_charts(report, number)}
</section>
"""


def _first_columns(table: Table) -> list[Column]:
    """Return the columns of the unfolded table: all columns of a table of the paper, otherwise at most six."""
    if len(table.columns) <= MOST_COLUMNS or table.name.isdigit():
        return table.columns
    kinds = {kind: place for place, kind in enumerate(FIRST)}
    order = sorted(table.columns, key=lambda column: kinds.get(column.kind, len(FIRST)))
    return [column for column in table.columns if column in order[:MOST_COLUMNS]]


def _closing(report: Report) -> str:
    sections = []
    studies = [study_charts(study) for study in report.studies]
    for i, (heading, notes) in enumerate(closing_notes(report)):
        charts = _chart_grid(studies[i]) if i < len(studies) else ""
        sections.append(
            f'<section><h2 id="closing-{i}">{escape(heading)}</h2>{items(map(note, notes))}{charts}</section>\n'
        )
    return "".join(sections)


def _chart_grid(charts: Sequence[Chart], *, wide: bool = False) -> str:
    """Return a grid of charts. They are side by side if the page is wide enough."""
    width, height = (560, 300) if wide else (440, 280)
    figures = "".join(
        f"<figure><figcaption>{escape(chart.title)} <small>{escape(chart.detail)}</small></figcaption>"
        f"{draw(chart, width=width, height=height)}</figure>"
        for chart in charts
    )
    return f'<div class="charts{" wide" * wide}">{figures}</div>' if figures else ""


def _table_charts(report: Report, number: int) -> str:
    """Return the charts of a table's columns of scores. Only the charts of the first column are unfolded."""
    table = report.tables[number]
    columns = table.score_columns
    if number >= MOST_CHARTED or not columns:
        return ""
    rows = scores.scored_rows(table, columns[0])
    keys = f'<div class="keys">{"".join(map(_key, rows))}</div>'
    keys = folded(f"The marks of the {len(rows)} rows", keys) if len(rows) > MANY else keys
    parts = [f'<h3 id="charts-{number}">Charts</h3>{keys}{_column_charts(table, columns[0], ranks=True)}']
    if sum(len(one.score_columns) for one in report.tables) <= MOST_CHARTED:
        for column in columns[1:]:
            parts.append(folded(f"Charts of {column.label}", _column_charts(table, column, ranks=False)))
    return "".join(parts)


def _key(row: Scored) -> str:
    """Return the mark and the name of a row."""
    style = f"--light:{row.look.light};--dark:{row.look.dark}"
    mark = f'<span class="mark" style="{style}" aria-hidden="true">{row.look.sign}</span>'
    return f"<span>{mark} {label(row.row.label)} {escape(row.row.differs)}</span>"


def _curve_charts(report: Report) -> str:
    parts = []
    for one in find_curves(report.runs):
        charts = _chart_grid(scores.curve_charts(one), wide=True)
        parts.append(f"<h3>{escape(one.title)}</h3>{charts}<p>{escape(one.explain_bars())}</p>")
    return f'<section><h2 id="curves">Scores over a setting</h2>{"".join(parts)}</section>\n' if parts else ""


def _column_charts(table: Table, column: Column, *, ranks: bool) -> str:
    rows = scores.scored_rows(table, column)
    charts = _chart_grid([*scores.cost_charts(column, rows), *scores.epoch_charts(column, rows)])
    return charts + (folded("Score against ranks", _chart_grid(scores.rank_charts(column, rows))) if ranks else "")
