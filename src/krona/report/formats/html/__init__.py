"""One HTML page with everything in it: tables, charts and the runs behind each number; no network."""

from pathlib import Path
from string import Template

from krona.messages import amount
from krona.report import text
from krona.report.charts.studies import study_charts
from krona.report.formats.html.cells import dialog, has_dialog, table_cell
from krona.report.formats.html.charts import chart_style, curve_charts, grid, table_charts
from krona.report.formats.html.markup import escape, items, label, scroll, sentence, table
from krona.report.lead import lead
from krona.report.notes import study_sentences, trial_values
from krona.report.table import Cell, Report, Row, Table, Target
from krona.runs.constant_predictions import SIGN

HERE = Path(__file__).parent


def render(report: Report, target: Target) -> str:
    """Return the page; its links to result.json start from the place of the target's file."""
    base = (Path.cwd() if target.file is None else target.file.parent).resolve()
    body = [_head(report), *(_section(report, i, base) for i in range(len(report.tables)))]
    if any(one.section for one in report.tables):
        body.append(f'<p class="legend">{_legend(report)}</p>')
    body += [curve_charts(report), _studies(report), _unfinished(report), _problems(report)]
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(report.title),
        style=(HERE / "page.css").read_text(encoding="utf-8") + chart_style(report),
        body="".join(body),
    )


def _head(report: Report) -> str:
    others, unfinished = len(report.unfinished), text.unfinished_counts(report.unfinished)
    counts = [amount(len(report.runs), "finished run")]
    counts += [f'<a href="#unfinished">{others} not finished</a> ({unfinished})'] if others else []
    counts += [f'<a href="#problems">{len(report.problems)} not usable</a>'] if report.problems else []
    links = "".join(f'<a href="#table-{i}">{escape(one.heading)}</a>' for i, one in enumerate(report.tables))
    links += "".join(f'<a href="#study-{i}">Study {escape(one.name)}</a>' for i, one in enumerate(report.studies))
    empty = f'<p class="caution">{sentence(*report.empty)}</p>' if report.empty else ""
    leads = "".join(f'<p class="lead">{sentence(line)}</p>' for line in lead(report))
    counted = f"<p>{' · '.join(counts)}</p>"
    return f"<header><h1>{escape(report.title)}</h1>{leads}{counted}<nav>{links}</nav>{empty}</header>\n"


def _legend(report: Report) -> str:
    """Return how a cell of this page is read."""
    words = text.legend(report, paper="the paper's number, in brackets how far it is from it")
    words = words.replace("* best", "★ best", 1).replace("~ not", "bold: not", 1)
    return escape(f"{words} A cell opens its runs. A column's heading sorts.")


def _section(report: Report, number: int, base: Path) -> str:
    shown = report.tables[number]
    caution = shown.section.caution if shown.section else None
    warning = f'<p class="caution">{escape(caution)}</p>' if caution else ""
    heads = "".join(
        f'<th scope="col"><button type="button" data-sort="{i}">{escape(name)}'
        f'{f" <small>{escape(metric)}</small>" if metric else ""}<span aria-hidden="true"></span></button></th>'
        for i, (name, metric) in enumerate([(shown.axis, ""), *((c.label, c.metric) for c in shown.columns)])
    )
    rows = "\n".join(_row(shown, number, i, row) for i, row in enumerate(shown.rows))
    scores = f'<table data-table="{number}"><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>'
    notes = [f'<span class="warning">{sentence(line)}</span>' if line.startswith(SIGN) else sentence(line)
             for line in (*text.remarks(shown), *shown.notes)]  # fmt: skip
    folded = items((sentence(*one) for one in text.asides(shown)), "asides")
    if folded:
        folded = f"<details><summary>What is missing or left out, and the commands for it</summary>{folded}</details>"
    dialogs = "".join(
        dialog(shown, row, column, _dialog_name(number, i, j), base)
        for i, row in enumerate(shown.rows)
        for j, column in enumerate(shown.columns)
        if has_dialog(row.cells.get(column.key, Cell()))
    )
    return f"""<section aria-labelledby="table-{number}">
<h2 id="table-{number}">{escape(shown.heading)}</h2>{warning}
{scroll(shown.heading, scores)}
{items(notes)}{folded}
{table_charts(report, number)}
{dialogs}</section>
"""


def _row(shown: Table, number: int, i: int, row: Row) -> str:
    differs = f"<small>{escape(row.differs).replace('=', '=<wbr>')}</small>" if row.differs else ""
    cells = "".join(
        table_cell(row.cells.get(column.key, Cell()), shown.scored_on(column), _dialog_name(number, i, j))
        for j, column in enumerate(shown.columns)
    )
    return f'<tr><th scope="row" data-value="{i}">{label(row.label)}{differs}</th>{cells}</tr>'


def _dialog_name(number: int, row: int, column: int) -> str:
    return f"cell-{number}-{row}-{column}"


def _studies(report: Report) -> str:
    sections = []
    for i, study in enumerate(report.studies):
        lines = "".join(f"<p>{escape(line)}</p>" for line in study_sentences(study, report.runs))
        pruned = [f"trial {one.number} ({trial_values(one)})" for one in study.trials if one.state == "pruned"]
        folded = f"<details><summary>What was pruned</summary><p>{escape('; '.join(pruned))}</p></details>"
        sections.append(
            f'<section id="study-{i}"><h2>Study {escape(study.name)}</h2>{lines}'
            f"{grid(study_charts(study))}{folded if pruned else ''}</section>\n"
        )
    return "".join(sections)


def _unfinished(report: Report) -> str:
    if not report.unfinished:
        return ""
    heads = ["Status", "Method", "Task", "Seed", "Reached", "Reason", "Run"]
    rows = [
        [run.status, one.method, one.task, str(one.seed), one.reached, one.error or "", one.run_id]
        for run, one in ((run, run.result) for run in report.unfinished)
    ]
    shown = table("Not finished", heads, [list(map(escape, row)) for row in rows])
    return f'<section><h2 id="unfinished">Not finished</h2>{shown}</section>\n'


def _problems(report: Report) -> str:
    if not report.problems:
        return ""
    return (
        f'<section><h2 id="problems">Files that could not be used</h2>{items(map(escape, report.problems))}</section>\n'
    )
