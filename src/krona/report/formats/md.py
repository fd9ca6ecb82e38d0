"""The Markdown format, in the dialect of GitHub."""

import re
from pathlib import Path

from krona.report import wording
from krona.report.notes import closing_notes, table_notes
from krona.report.table import Cell, Column, Note, Report, Table


def render(report: Report, out: Path | None) -> str:
    """Return the report as Markdown."""
    parts = [f"# {_escape(report.title)}"]
    if report.empty:
        parts.append(_note(report.empty))
    parts += [wording.tagged_sentence(line, _escape) for line in (*wording.summarize(report), report.counts)]
    parts += map(_table, report.tables)
    if any(table.section for table in report.tables):
        parts.append(_escape(wording.legend(report)))
    for heading, notes in closing_notes(report):
        parts.append(f"## {_escape(heading)}\n\n" + "\n".join(f"- {_note(note)}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    lines = [f"## {_escape(table.heading)}", ""]
    if table.caution:
        lines += [f"> {_escape(table.caution)}", ""]
    lines.append(f"| {_escape(table.axis)} | " + " | ".join(map(_heading, table.columns)) + " |")
    lines.append("|:--|" + "--:|" * len(table.columns))
    for row in table.rows:
        label = wording.tagged_label(row.label, _escape) + (
            f"<br><sub>{_escape(row.differs)}</sub>" if row.differs else ""
        )
        lines.append(f"| {label} | " + " | ".join(_cell(row.cell(column.key)) for column in table.columns) + " |")
    lines.append("")
    lines += [f"- {_note(note)}" for note in table_notes(table)]
    return "\n".join(lines).rstrip()


def _heading(column: Column) -> str:
    return "<br>".join([_escape(column.label), *(f"<sub>{_escape(line)}</sub>" for line in column.details)])


def _cell(cell: Cell) -> str:
    shown = f"**{wording.cell_value(cell)}**" if cell.best or cell.tied else wording.cell_value(cell)
    details = [*wording.cell_details(cell), *wording.paper_lines(cell)]
    return "<br>".join([shown + _escape(wording.cell_mark(cell)), *(f"<sub>{line}</sub>" for line in details)])


def _note(note: Note) -> str:
    """Return a sentence, and its command as code, because GitHub would change quotes and dashes in text."""
    text = wording.tagged_sentence(note.text, _escape)
    if not note.command:
        return text
    fence = "`" * (max(map(len, re.findall("`+", note.command)), default=0) + 1)
    space = " " if "`" in note.command else ""
    return f"{text} {fence}{space}{note.command}{space}{fence}".replace("\n", " ")


def _escape(value: str) -> str:
    """Escape the special characters of Markdown and HTML."""
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    return re.sub(r"([\\`*_|~\[\]])", r"\\\1", value)
