"""One HTML page with everything in it: tables, charts and the runs behind each number; no network."""

from pathlib import Path
from string import Template

from krona.messages import amount
from krona.report.charts.scores import study_charts
from krona.report.formats.html.charts import chart_style, curve_charts, grid, table_charts
from krona.report.formats.html.markup import escape, folded, items, note, sentence
from krona.report.formats.html.rows import runs_of_rows, table_of_rows
from krona.report.notes import closing_notes, table_notes
from krona.report.summary import summarize
from krona.report.table import Column, Report, Table, Target
from krona.report.text import legend

HERE = Path(__file__).parent
MOST_COLUMNS = 6  # of a table; the others are folded
FIRST = ("average", "task", "beside", "params", "time", "memory")  # kinds of columns that are shown before others


def render(report: Report, target: Target) -> str:
    """Return the page; its links to result.json start from the place of the target's file."""
    base = (Path.cwd() if target.file is None else target.file.parent).resolve()
    body = [_head(report), *(_section(report, i, base) for i in range(len(report.tables)))]
    if any(one.section for one in report.tables):
        words = f"{legend(report)} A column's heading sorts."
        body.append(f'<p class="legend">{escape(words)}</p>')
    body += [curve_charts(report), _closing(report)]
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(report.title),
        style=(HERE / "page.css").read_text(encoding="utf-8") + chart_style(report),
        body="".join(body),
    )


def _head(report: Report) -> str:
    counts = [amount(len(report.runs), "finished run")]
    links = [f'<a href="#table-{i}">{escape(one.heading)}</a>' for i, one in enumerate(report.tables)]
    links += [f'<a href="#closing-{i}">{escape(heading)}</a>' for i, (heading, _) in enumerate(closing_notes(report))]
    empty = f'<p class="caution">{sentence(*report.empty)}</p>' if report.empty else ""
    lines = "".join(f'<p class="lead">{sentence(line)}</p>' for line in summarize(report))
    return (
        f"<header><h1>{escape(report.title)}</h1>{lines}<p>{counts[0]}</p><nav>{''.join(links)}</nav>{empty}</header>\n"
    )


def _section(report: Report, number: int, base: Path) -> str:
    table = report.tables[number]
    caution = f'<p class="caution">{escape(table.caution)}</p>' if table.caution else ""
    columns = _first_columns(table)
    rest = ""
    if len(columns) < len(table.columns):
        whole = table_of_rows(table, table.columns, number)
        rest = folded(f"All {len(table.columns)} columns", whole)
    notes = table_notes(table)
    missing = items((note(one) for one in notes if one.kind == "missing"), "asides")
    return f"""<section aria-labelledby="table-{number}">
<h2 id="table-{number}">{escape(table.heading)}</h2>{caution}
{table_of_rows(table, columns, number)}{rest}
{items(note(one) for one in notes if one.kind != "missing")}
{folded("Missing or left out, with the commands", missing)}
{runs_of_rows(table, base)}
{table_charts(report, number)}
</section>
"""


def _first_columns(table: Table) -> list[Column]:
    """Return the columns that are not folded: at most six; of a table of the paper all."""
    if len(table.columns) <= MOST_COLUMNS or table.name.isdigit():
        return table.columns
    kinds = {kind: place for place, kind in enumerate(FIRST)}
    order = sorted(table.columns, key=lambda column: kinds.get(column.kind, len(FIRST)))
    return [column for column in table.columns if column in order[:MOST_COLUMNS]]


def _closing(report: Report) -> str:
    """Return the sections below the tables; those of studies have charts."""
    sections = []
    studies = [study_charts(study) for study in report.studies]
    for i, (heading, notes) in enumerate(closing_notes(report)):
        charts = grid(studies[i]) if i < len(studies) else ""
        sections.append(
            f'<section><h2 id="closing-{i}">{escape(heading)}</h2>{items(map(note, notes))}{charts}</section>\n'
        )
    return "".join(sections)
