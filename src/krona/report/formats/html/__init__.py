"""One HTML page with everything in it: tables first, readable without its script; no network, no framework."""

import base64
import html
import json
import re
from pathlib import Path
from string import Template

from krona.messages import amount
from krona.outputs.degenerate import SIGN
from krona.report import palette, studies, text
from krona.report.curves import curves_of
from krona.report.formats.html.data import page_data
from krona.report.formats.svg import lines
from krona.report.lead import lead
from krona.report.table import Cell, Report, Row, Table, Target

HERE = Path(__file__).parent
SCRIPTS = ("page.js", "page_plots.js", "page_pictures.js", "page_studies.js")


def render(report: Report, target: Target) -> str:
    """The page; its links to result.json start from where it will lie."""
    base = None if target.file is None else target.file.parent
    data = json.dumps(page_data(report, base), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    body = [_head(report), *(_section(i, table) for i, table in enumerate(report.tables))]
    if any(table.section for table in report.tables):
        body.append(Template(_file("page_scores.html")).substitute(legend=_legend(report)))
    body += [_curves(report), _studies(report), _unfinished(report), _problems(report)]
    return Template(_file("page.html")).substitute(
        title=_escape(report.title),
        style=palette.css() + _file("page.css"),
        body="".join(body),
        data=_safe_json(data),
        scripts="\n".join(map(_file, SCRIPTS)),
    )


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _head(report: Report) -> str:
    others, unfinished = len(report.unfinished), text.unfinished_counts(report.unfinished)
    counts = [amount(len(report.runs), "finished run")]
    counts += [f'<a href="#unfinished">{others} not finished</a> ({unfinished})'] if others else []
    counts += [f'<a href="#problems">{len(report.problems)} not usable</a>'] if report.problems else []
    links = "".join(f'<a href="#table-{i}">{_escape(t.heading)}</a>' for i, t in enumerate(report.tables))
    links += '<a href="#plots">Pictures</a>' if any(t.section for t in report.tables) else ""
    links += "".join(f'<a href="#study-{i}">Study {_escape(one.name)}</a>' for i, one in enumerate(report.studies))
    empty = f'<p class="caution">{_with_command(*report.empty)}</p>' if report.empty else ""
    leads = "".join(f'<p class="lead">{_in_words(sentence)}</p>' for sentence in lead(report))
    counted = f"<p>{' · '.join(counts)}</p>"
    return f"<header><h1>{_escape(report.title)}</h1>{leads}{counted}<nav>{links}</nav>{empty}</header>\n"


def _legend(report: Report) -> str:
    """How a cell of this page is read."""
    told = text.legend(report, paper="the paper's number, in brackets how far it is from it")
    return _escape(told.replace("* best", "★ best", 1).replace("~ not", "bold: not", 1))


def _section(number: int, table: Table) -> str:
    caution = table.section.caution if table.section else None
    warning = f'<p class="caution">{_escape(caution)}</p>' if caution else ""
    heads = "".join(
        f'<th scope="col"><button type="button" data-sort="{i}">{_escape(name)}'
        f'{f" <small>{_escape(metric)}</small>" if metric else ""}<span aria-hidden="true"></span></button></th>'
        for i, (name, metric) in enumerate([(table.axis, ""), *((c.label, c.metric) for c in table.columns)])
    )
    rows = "\n".join(_row(table, number, i, row) for i, row in enumerate(table.rows))
    remarks = "".join(_remark(line) for line in text.remarks(table))
    notes = remarks + "".join(f"<li>{_in_words(note)}</li>" for note in table.notes)
    folded = "".join(f"<li>{_with_command(*one)}</li>" for one in text.asides(table))
    if folded:
        summary = "<summary>What is missing or left out, and the commands for it</summary>"
        folded = f"<details>{summary}<ul>{folded}</ul></details>"
    return f"""<section aria-labelledby="table-{number}">
<h2 id="table-{number}">{_escape(table.heading)}</h2>{warning}
<div class="scroll" tabindex="0" role="region" aria-label="{_escape(table.heading)}"><table data-table="{number}">
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody></table></div>
<ul class="notes">{notes}</ul>{folded}
</section>
"""


def _remark(line: str) -> str:
    warns = ' class="warning"' if line.startswith(SIGN) else ""
    return f"<li{warns}>{_in_words(line)}</li>"


def _row(table: Table, number: int, i: int, row: Row) -> str:
    differs = f"<small>{_escape(row.differs).replace('=', '=<wbr>')}</small>" if row.differs else ""
    cells = "".join(
        _cell(row.cells.get(c.key), table.scored_on(c), f"{number},{i},{_escape(c.key)}") for c in table.columns
    )
    return f'<tr data-row="{i}"><th scope="row" data-value="{i}">{_label(row.label)}{differs}</th>{cells}</tr>'


def _cell(cell: Cell | None, split: str, place: str) -> str:
    """``place``: table, row and column, by which the page's script finds the cell."""
    if cell is None or (cell.value is None and not cell.missing):
        return "<td></td>"
    parts = []
    if seeds := text.seed_count(cell):
        spread = f"{text.spread(cell)}<br>" if text.spread(cell) else ""  # side by side, eight tasks do not fit 1400 px
        parts.append(f'<small class="spread">{spread}{seeds}</small>')
    if cell.test_interval:
        parts.append(f'<small title="{split} set, 95 %">{text.test_range(cell)}</small>')
    if cell.paper is not None:
        gap = text.difference(cell)
        parts.append(f'<small class="paper" title="the paper">{text.paper(cell)}{f" ({gap})" if gap else ""}</small>')
    shown = text.value(cell) + ("<span class='star' title='best'>★</span>" if cell.best else "")
    if cell.warned:
        why = _escape(" ".join(text.cell_remarks(cell)))
        shown += f'<span class="warned" role="img" aria-label="warning" title="{why}">{SIGN}</span>'
    shown = f"<strong>{shown}</strong>" if cell.best or cell.tied else f"<span>{shown}</span>"
    value = "" if cell.value is None else f' data-value="{cell.value:.6g}"'
    inner = shown + "".join(parts)
    if not cell.runs and not cell.command:
        return f"<td{value}>{inner}</td>"
    return f'<td{value}><button type="button" data-cell="{place}">{inner}</button></td>'


def _curves(report: Report) -> str:
    """Pictures of scores over learning rates and training rows; as images, so that their style stays theirs."""
    figures = []
    for one in curves_of(report.runs):
        picture = base64.b64encode(lines.drawn(one).encode()).decode()
        source = f"data:image/svg+xml;base64,{picture}"
        figures.append(f'<p><img alt="{_escape(one.title)}" src="{source}" style="max-width:100%"></p>')
    if not figures:
        return ""
    return f'<section><h2 id="curves">Scores over a setting</h2>{"".join(figures)}</section>\n'


def _studies(report: Report) -> str:
    sections = []
    for i, study in enumerate(report.studies):
        lines = "".join(f"<p>{_escape(line)}</p>" for line in studies.in_words(study, report.runs))
        pruned = [f"trial {one.number} ({studies.values(one)})" for one in study.trials if one.state == "pruned"]
        folded = f"<details><summary>What was pruned</summary><p>{_escape('; '.join(pruned))}</p></details>"
        sections.append(
            f'<section aria-labelledby="study-{i}"><h2 id="study-{i}">Study {_escape(study.name)}</h2>{lines}'
            f'<div class="plots" id="study-{i}-plots"></div>{folded if pruned else ""}</section>\n'
        )
    return "".join(sections)


def _unfinished(report: Report) -> str:
    if not report.unfinished:
        return ""
    rows = []
    for run, one in ((run, run.result) for run in report.unfinished):
        values = (run.status, one.method, one.task, str(one.seed), one.reached, one.error or "")
        cells = "".join(f"<td>{_escape(value)}</td>" for value in values)
        rows.append(f'<tr>{cells}<td class="id">{_escape(one.run_id)}</td></tr>')
    names = ("Status", "Method", "Task", "Seed", "Reached", "Reason", "Run")
    heads = "".join(f"<th scope='col'>{name}</th>" for name in names)
    return (
        f'<section><h2 id="unfinished">Not finished</h2><div class="scroll" tabindex="0"><table class="plain">'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></section>\n"
    )


def _problems(report: Report) -> str:
    if not report.problems:
        return ""
    items = "".join(f"<li>{_escape(problem)}</li>" for problem in report.problems)
    return f'<section><h2 id="problems">Files that could not be used</h2><ul>{items}</ul></section>\n'


def _label(label: str) -> str:
    name, above, below = map(_escape, text.label_parts(label))
    return name + (f"<sup>{above}</sup>" if above else "") + (f"<sub>{below}</sub>" if below else "")


def _in_words(line: str) -> str:
    """A sentence; in it, names of methods as in the table."""
    return re.sub(r"(\w+)\^(\w)(?:_(\w+))?", lambda found: _label(found[0]), _escape(line))


def _with_command(words: str, command: str) -> str:
    return f"{_in_words(words)} <code>{_escape(command)}</code>" if command else _in_words(words)


def _escape(value: str) -> str:
    return html.escape(value, quote=True)


def _safe_json(data: str) -> str:
    """No `</script>` and no comment can begin inside."""
    return data.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028")
