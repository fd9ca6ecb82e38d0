"""Render a report's tables as LaTeX for a two-column article."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from krona.messages import escape_control_characters
from krona.report import text
from krona.report.notes import closing_notes, table_notes
from krona.report.table import Cell, Report, Row, Table

MAX_COLUMNS = 4  # a table with more columns takes the width of both columns of the page
NEEDS = r"Needs \usepackage{booktabs}, \usepackage{graphicx} and \usepackage[T1]{fontenc}."
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # shrinks a table that is too wide
TAGS = (r"\textsuperscript{{{}}}", r"\textsubscript{{{}}}")
CHARACTERS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "−": r"$-$", "–": "--", "—": "---", "⊗": r"$\otimes$", "·": r"$\cdot$",
    "Δ": r"$\Delta$", "→": r"$\to$", "…": r"\dots{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "×": r"$\times$",
    "³": r"\textsuperscript{3}", "≠": r"$\ne$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip


def render_latex(report: Report, out: Path | None) -> str:
    """Return the tables as LaTeX. The notes, which contain the warnings, are comments."""
    lines = [f"{report.title}. {NEEDS}"]
    lines += [f"{report.empty.text} {report.empty.command}"] if report.empty else []
    after = [f"{heading}: {note.text} {note.command}" for heading, notes in closing_notes(report) for note in notes]
    return "\n".join([*map(_comment, lines), *map(_table, report.tables), *map(_comment, after)]) + "\n"


def _comment(line: str) -> str:
    return f"% {line}".replace("\n", " ").rstrip()


def _table(table: Table) -> str:
    columns = table.shown
    headings = [_stack(escape_latex(column.label), column.details) for column in columns]
    names = text.short_names(table.rows)
    frame = pd.DataFrame(
        [[_label(row, names), *(_cell(row.cell(column.key)) for column in columns)] for row in table.rows],
        columns=[escape_latex(table.axis), *headings],
    )
    body = frame.to_latex(index=False, escape=False, column_format="l" + "c" * len(headings)).strip()
    notes = table_notes(table)
    small = [rf"\par{{\scriptsize {escape_latex(note.text)}\par}}" for note in notes if note.kind == "power"]
    kind = "table" if len(columns) <= MAX_COLUMNS else "table*"
    return "\n".join([
        "", rf"\begin{{{kind}}}[t]", r"\centering\footnotesize\setlength{\tabcolsep}{2.5pt}", FIT, f"{body}}}", *small,
        rf"\caption{{{_caption(table)}}}", rf"\end{{{kind}}}",
        *map(_comment, [table.warning] if table.warning else []),
        *(_comment(f"{note.text} {note.command}") for note in notes if note.kind != "power"),
    ])  # fmt: skip


def _stack(first: str, lines: Sequence[str], side: str = "c") -> str:
    """Return a line with smaller lines below it."""
    small = [rf"{{\scriptsize {escape_latex(line)}}}" for line in lines]
    joined = r" \\ ".join([first, *small])
    return rf"\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}{joined}\end{{tabular}}" if small else first


def _cell(cell: Cell) -> str:
    value = escape_latex(text.cell_value(cell))
    value = rf"\textbf{{{value}}}" if cell.best or cell.tied else value
    signs = text.cell_mark(cell).replace("~", "").replace("↑", r"\uparrow").replace("↓", r"\downarrow")
    value += rf"\rlap{{$^{{{signs}}}$}}" if signs else ""
    return _stack(value, [*text.cell_details(cell), *text.paper_lines(cell)])


def _label(row: Row, names: dict[str, str]) -> str:
    """Return the label of a row, with one line for each setting that distinguishes it from other rows of its label."""
    settings = names[row.name].removeprefix(row.label).strip(" ()")
    label = text.tag_labels(row.label, escape_latex, TAGS)
    return _stack(label, settings.split(", ") if settings else [], "l")


def _caption(table: Table) -> str:
    title = re.sub(r"^Table \d+: ", "", table.title)  # LaTeX numbers the tables
    marks = text.legend([table], tied="Bold without a star:", notes="the comments in the source")
    if any(column.kind == "other_split" for column in table.columns):
        marks += " The best row is chosen by dev scores. Test scores are next to the dev scores."
    return escape_latex(f"{title[:1].upper()}{title[1:]}. {table.heading}. {marks}".strip())


def escape_latex(value: str) -> str:
    """Escape LaTeX's special characters, and replace characters that LaTeX's fonts may not contain."""
    line = " ".join(escape_control_characters(value).splitlines())
    escaped = "".join(CHARACTERS.get(character, character) for character in line)
    return escaped.encode("latin-1", "replace").decode("latin-1")
