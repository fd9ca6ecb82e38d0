"""Render a report's tables as LaTeX for a two-column article."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from krona.messages import escape_control_characters
from krona.report import text
from krona.report.notes import closing_notes, table_notes
from krona.report.table import Cell, Column, Report, Row, Table

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


def render_latex(report: Report, out: Path | None, *, label: str = "", caption: str = "") -> str:
    """Return the tables as LaTeX. The notes, which contain the warnings, are comments.

    Args:
        label: the label of the first table. The labels of the other tables end with ``-2``, ``-3`` …
        caption: LaTeX code that replaces the caption. The legend of the marks then stands below the table.
    """
    lines = [f"{report.title}. {NEEDS}"]
    lines += [f"{report.empty.text} {report.empty.command}"] if report.empty else []
    tables = []
    for number, table in enumerate(report.tables, 1):
        table_label = label and (label if number == 1 else f"{label}-{number}")
        legend = _legend(table)
        own = _caption(table, "" if caption else legend)
        tables.append(
            _table(table, table.shown, rf"\caption{{{caption or own}}}", table_label, legend if caption else "")
        )
    after = [f"{heading}: {note.text} {note.command}" for heading, notes in closing_notes(report) for note in notes]
    return "\n".join([*map(_comment, lines), *tables, *map(_comment, after)]) + "\n"


def _comment(line: str) -> str:
    return f"% {line}".replace("\n", " ").rstrip()


def _table(table: Table, columns: Sequence[Column], caption: str, label: str, below: str) -> str:
    headings = [_stack(escape_latex(column.label), column.details) for column in columns]
    names = text.short_names(table.rows)
    frame = pd.DataFrame(
        [[_label(row, names), *(_cell(row.cell(column.key)) for column in columns)] for row in table.rows],
        columns=[escape_latex(table.axis), *headings],
    )
    body = frame.to_latex(index=False, escape=False, column_format="l" + "c" * len(headings)).strip()
    notes = table_notes(table)
    texts = [*filter(None, [below]), *(note.text for note in notes if note.kind == "power")]
    small = [rf"\par{{\scriptsize {escape_latex(line)}\par}}" for line in texts]
    kind = "table" if len(columns) <= MAX_COLUMNS else "table*"
    return "\n".join([
        "", rf"\begin{{{kind}}}[t]", r"\centering\footnotesize\setlength{\tabcolsep}{2.5pt}", FIT, f"{body}}}", *small,
        caption, *([rf"\label{{{label}}}"] if label else []), rf"\end{{{kind}}}",
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


def _caption(table: Table, legend: str) -> str:
    title = re.sub(r"^Table \d+: ", "", table.title)  # LaTeX numbers the tables
    return escape_latex(f"{title[:1].upper()}{title[1:]}. {table.heading}. {legend}".strip())


def _legend(table: Table) -> str:
    words = text.legend([table], tied="Bold without a star:", notes="the comments in the source")
    chosen = any(column.kind == "other_split" for column in table.columns)
    by_dev = " The best row is chosen by dev scores. Test scores are next to the dev scores." if chosen else ""
    return f"{words}{by_dev}"


def escape_latex(value: str) -> str:
    """Escape LaTeX's special characters, and replace characters that LaTeX's fonts may not contain."""
    line = " ".join(escape_control_characters(value).splitlines())
    escaped = "".join(CHARACTERS.get(character, character) for character in line)
    return escaped.encode("latin-1", "replace").decode("latin-1")
