"""The HTML format: one page with the tables, the charts and the runs behind each number. It needs no network.

All text is escaped, so a name can't be read as markup.
"""

import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

from krona.formatting import NOTHING
from krona.report import wording
from krona.report.charts import scores
from krona.report.charts.chart import Chart, dark_style, row_looks
from krona.report.charts.curves import find_curves
from krona.report.charts.draw import draw
from krona.report.charts.scores import PRUNED, Scored, study_charts
from krona.report.notes import best_run_notes, cell_remarks, closing_notes, describe_provenance, table_notes
from krona.report.stored_runs import StoredRun
from krona.report.table import Cell, Column, Note, Report, Row, Table
from krona.runs.suspicious_scores import SIGN

MOST_COLUMNS = 6  # a table shows at most this number of columns; the table with all columns is folded
MOST_CHARTED = 12  # with more score columns in all tables, only the first column of each of 12 tables has charts
MANY = 14  # longer lists of rows are folded
FIRST = ("average", "task", "beside", "params", "time", "memory")  # columns of these kinds are preferred, in this order


def render(report: Report, out: Path | None) -> str:
    """Return the page. Its links to result.json files are relative to the folder of the file ``out``."""
    base = (Path.cwd() if out is None else out.parent).resolve()
    body = [_head(report), *(_section(report, i, base) for i in range(len(report.tables)))]
    if any(one.section for one in report.tables):
        words = f"{wording.legend(report)} Click the heading of a column to sort."
        body.append(f'<p class="legend">{escape(words)}</p>')
    body += [_curve_charts(report), _closing(report)]
    looks = [look for one in report.tables for look in row_looks([row.method for row in one.rows])]
    css, page = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.css", "page.html"))
    style = css + dark_style([PRUNED, *looks])
    return Template(page).substitute(title=escape(report.title), style=style, body="".join(body))


def _head(report: Report) -> str:
    links = [f'<a href="#table-{i}">{escape(one.heading)}</a>' for i, one in enumerate(report.tables)]
    links += [f'<a href="#closing-{i}">{escape(heading)}</a>' for i, (heading, _) in enumerate(closing_notes(report))]
    empty = f'<p class="caution">{_note(report.empty)}</p>' if report.empty else ""
    lines = "".join(
        f'<p class="lead">{wording.tagged_sentence(line, escape)}</p>' for line in wording.summarize(report)
    )
    head = f"<h1>{escape(report.title)}</h1>{lines}<p>{escape(report.counts)}</p>"
    return f"<header>{head}<nav>{''.join(links)}</nav>{empty}</header>\n"


def _section(report: Report, number: int, base: Path) -> str:
    table = report.tables[number]
    caution = f'<p class="caution">{escape(table.caution)}</p>' if table.caution else ""
    columns = _first_columns(table)
    rest = ""
    if len(columns) < len(table.columns):
        rest = _folded(f"All {len(table.columns)} columns", _table_of_rows(table, table.columns, number))
    notes = table_notes(table)
    missing, over_tasks = (_items(_note(one) for one in notes if one.kind == kind) for kind in ("missing", "tasks"))
    return f"""<section aria-labelledby="table-{number}">
<h2 id="table-{number}">{escape(table.heading)}</h2>{caution}
{_table_of_rows(table, columns, number)}{rest}
{_items(_note(one) for one in notes if one.kind not in ("missing", "tasks"))}
{_folded("Ranks, means and equivalence over the tasks", over_tasks)}
{_folded("Missing or left out, with the commands", missing)}
{_runs_of_rows(table, base)}
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
            f'<section><h2 id="closing-{i}">{escape(heading)}</h2>{_items(map(_note, notes))}{charts}</section>\n'
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
    keys = _folded(f"The marks of the {len(rows)} rows", keys) if len(rows) > MANY else keys
    parts = [f'<h3 id="charts-{number}">Charts</h3>{keys}{_column_charts(table, columns[0], ranks=True)}']
    if sum(len(one.score_columns) for one in report.tables) <= MOST_CHARTED:
        for column in columns[1:]:
            parts.append(_folded(f"Charts of {column.label}", _column_charts(table, column, ranks=False)))
    return "".join(parts)


def _key(row: Scored) -> str:
    style = f"--light:{row.look.light};--dark:{row.look.dark}"
    mark = f'<span class="mark" style="{style}" aria-hidden="true">{row.look.sign}</span>'
    return f"<span>{mark} {_label(row.row)}</span>"


def _label(row: Row) -> str:
    return f"{wording.tagged_label(row.label, escape)} {escape(row.differs)}"


def _curve_charts(report: Report) -> str:
    parts = []
    for one in find_curves(report.runs):
        charts = _chart_grid(scores.curve_charts(one), wide=True)
        parts.append(f"<h3>{escape(one.title)}</h3>{charts}<p>{escape(one.explain_bars())}</p>")
    return f'<section><h2 id="curves">Scores over a setting</h2>{"".join(parts)}</section>\n' if parts else ""


def _column_charts(table: Table, column: Column, *, ranks: bool) -> str:
    rows = scores.scored_rows(table, column)
    charts = _chart_grid([*scores.cost_charts(column, rows), *scores.epoch_charts(column, rows)])
    return charts + (_folded("Score against ranks", _chart_grid(scores.rank_charts(column, rows))) if ranks else "")


def _table_of_rows(table: Table, columns: Sequence[Column], place: int) -> str:
    """Return the HTML of a sortable table. ``place`` is the number of the table on the page."""
    heads = ""
    for i, column in enumerate([Column("", table.axis), *columns]):
        small = "".join(f" <small>{escape(line)}</small>" for line in column.details)
        text = f'{escape(column.label)}{small}<span aria-hidden="true"></span>'
        heads += f'<th scope="col"><button type="button" data-sort="{i}">{text}</button></th>'
    rows = []
    for i, row in enumerate(table.rows):
        differs = f"<small>{escape(row.differs).replace('=', '=<wbr>')}</small>" if row.differs else ""
        cells = "".join(_cell(row.cell(column.key)) for column in columns)
        rows.append(
            f'<tr><th scope="row" data-value="{i}">{wording.tagged_label(row.label, escape)}{differs}</th>{cells}</tr>'
        )
    body = "\n".join(rows)
    content = f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return _scroll(table.heading, f'<table data-table="{place}">{content}</table>')


def _cell(cell: Cell) -> str:
    if cell.value is None and not cell.missing:
        return "<td></td>"
    shown = wording.cell_value(cell) + f'<span class="star">{wording.cell_mark(cell).strip(SIGN)}</span>'
    if cell.warned:
        why = escape(" ".join(cell_remarks(cell)))
        shown += f'<span class="warned" role="img" aria-label="warning" title="{why}">{SIGN}</span>'
    shown = f"<strong>{shown}</strong>" if cell.best or cell.tied else shown
    details = [*wording.cell_details(cell), *wording.paper_lines(cell)]
    value = "" if cell.value is None else f' data-value="{cell.value:.6g}"'
    told = cell.missing if cell.p is None else f"p against the best: {cell.p:.4f} (Holm)"
    title = f' title="{escape(told)}"' if told else ""
    return f"<td{value}{title}>{shown}{''.join(f'<small>{line}</small>' for line in details)}</td>"


def _runs_of_rows(table: Table, base: Path) -> str:
    """Return the HTML of the runs of a table: the best run of each row and task, all runs, and their provenance.

    The links to result.json files are relative to the folder ``base``.
    """
    best = _items("<br>".join(map(_note, notes)) for notes in best_run_notes(table))
    if not best:
        return ""
    heads = ["Row", "Task", "Seed", "Test", "Dev", "Best epoch", "Training s", "result.json"]
    runs = {run.result.run_id: (row, run) for row in table.rows for cell in row.cells.values() for run in cell.runs}
    lines = [[_label(row), *_run(run, base)] for row, run in runs.values()]
    made = dict.fromkeys(describe_provenance(run.result) for _, run in runs.values())
    made |= dict.fromkeys(note for _, run in runs.values() for note in run.result.notes)
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    every = f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    content = f"<h3>Best runs by their dev scores</h3>{best}<h3>All runs</h3>{_scroll('Runs', every)}"
    content += f"<h3>Where these numbers come from</h3>{_items(map(escape, made))}"
    return _folded("Runs, and the commands that use their weights", content)


def _run(run: StoredRun, base: Path) -> list[str]:
    result, path = run.result, os.path.relpath(run.path.resolve(), base)
    scores = [NOTHING if (score := run.score(split)) is None else wording.number(score) for split in ("test", "dev")]
    train = result.times.get("train")
    epoch = NOTHING if result.best_epoch is None else str(result.best_epoch)
    link = f'<a href="{quote(Path(path).as_posix())}">{escape(result.run_id)}</a>'
    seconds = NOTHING if train is None else wording.number(train, 0)
    return [escape(result.task), str(result.seed), *scores, epoch, seconds, link]


def _note(one: Note) -> str:
    """Return a sentence and the command after it. A warning has its own color."""
    words = wording.tagged_sentence(one.text, escape)
    words += f" <code>{escape(one.command)}</code>" if one.command else ""
    return f'<span class="warning">{words}</span>' if one.kind == "warning" else words


def _items(lines: Iterable[str]) -> str:
    """Return an HTML list of these items. Without items, return an empty text."""
    found = "".join(f"<li>{line}</li>" for line in lines)
    return f'<ul class="notes">{found}</ul>' if found else ""


def _scroll(name: str, content: str) -> str:
    """Return a region of the page that scrolls if its content is too wide."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">{content}</div>'


def _folded(summary: str, content: str) -> str:
    """Return content that a click on the summary unfolds. Without content, return an empty text."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>" if content else ""
