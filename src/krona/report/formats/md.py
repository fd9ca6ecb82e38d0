"""A report as Markdown that GitHub shows."""

import re

from krona.report import text
from krona.report.lead import lead
from krona.report.notes import study_sentences
from krona.report.table import Cell, Column, Report, Table, Target


def render(report: Report, target: Target) -> str:
    parts = [f"# {_escape(report.title)}"]
    if report.empty:
        parts.append(_with_command(*report.empty))
    parts += map(_in_words, lead(report))
    parts += map(_table, report.tables)
    if any(table.section for table in report.tables):
        legend = text.legend(report, paper="paper: its number, and minus it in brackets")
        parts.append(_escape(legend).replace(r"\*", "Bold with \\*:", 1).replace(r"; \~", r"; bold with \~:", 1))
    for study in report.studies:
        found = "\n".join(f"- {_escape(line)}" for line in study_sentences(study, report.runs))
        parts.append(f"## Study {_escape(study.name)}\n\n{found}")
    for title, lines in (("Not finished", text.unfinished_lines(report)), ("Could not be used", report.problems)):
        if lines:
            parts.append(f"## {title}\n\n" + "\n".join(f"- {_escape(line)}" for line in lines))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    lines = [f"## {_escape(table.heading)}", ""]
    if table.section is not None and table.section.caution:
        lines += [f"> {_escape(table.section.caution)}", ""]
    lines.append(f"| {_escape(table.axis)} | " + " | ".join(map(_heading, table.columns)) + " |")
    lines.append("|:--|" + "--:|" * len(table.columns))
    for row in table.rows:
        label = _label(row.label) + (f"<br><sub>{_escape(row.differs)}</sub>" if row.differs else "")
        cells = [_cell(row.cells.get(column.key, Cell()), table.scored_on(column)) for column in table.columns]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"- {_in_words(note)}" for note in (*text.remarks(table), *table.notes)]
    lines += [f"- {_with_command(*one)}" for one in text.asides(table)]
    return "\n".join(lines).rstrip()


def _heading(column: Column) -> str:
    return _escape(column.label) + (f"<br><sub>{_escape(column.metric)}</sub>" if column.metric else "")


def _cell(cell: Cell, split: str) -> str:
    shown = text.value(cell)
    if cell.best or cell.tied:
        shown = f"**{shown}**"
    shown += _escape(text.mark(cell))
    parts = [f"{shown} {text.spread(cell)}".strip()]
    if seeds := text.seed_count(cell):
        parts.append(f"<sub>{seeds}</sub>")
    if cell.test_interval:
        parts.append(f"<sub>{split} {text.test_range(cell)}</sub>")
    if cell.difference is not None:
        parts.append(f"<sub>paper {text.paper(cell)} ({text.difference(cell)})</sub>")
    return "<br>".join(parts)


def _label(label: str) -> str:
    name, above, below = map(_escape, text.label_parts(label))
    return name + (f"<sup>{above}</sup>" if above else "") + (f"<sub>{below}</sub>" if below else "")


def _in_words(line: str) -> str:
    """A sentence; in it, names of methods as in the table."""
    name = r"(\w+)\^(\w)(?:\\_(\w+))?"
    return re.sub(name, lambda found: _label(found[0].replace("\\", "")), _escape(line))


def _with_command(words: str, command: str) -> str:
    """The command as code: in a text GitHub would make other quotes and dashes of it."""
    if not command:
        return _in_words(words)
    fence = "`" * (max(map(len, re.findall("`+", command)), default=0) + 1)
    space = " " if "`" in command else ""
    return f"{_in_words(words)} {fence}{space}{command}{space}{fence}".replace("\n", " ")


def _escape(value: str) -> str:
    """Names are shown, never interpreted: neither as Markdown nor as HTML."""
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    return re.sub(r"([\\`*_|~\[\]])", r"\\\1", value)
