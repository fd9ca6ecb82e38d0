"""The LaTeX format: tables with booktabs rules, as one ``table*`` environment for each table of the report."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from krona.messages import visible
from krona.report.notes import closing_notes, table_notes
from krona.report.table import Cell, Column, Report, Row, Table
from krona.report.wording import SEEDS, cell_mark, cell_value, count_seeds, format_seeds, label_parts, number

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "−": r"$-$", "–": "--", "—": "---", "⊗": r"$\otimes$", "·": r"$\cdot$",
    "Δ": r"$\Delta$", "→": r"$\to$", "…": r"\dots{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "×": r"$\times$",
    "³": r"\textsuperscript{3}",
}  # fmt: skip
PRINTED = ("warning", "remark", "power")  # notes of these kinds are printed; the others become LaTeX comments


def render(report: Report, out: Path | None) -> str:
    """Return the tables as LaTeX. They need ``\\usepackage{booktabs}`` and ``\\usepackage[T1]{fontenc}``."""
    lines = [_comment(f"{report.title}. Needs \\usepackage{{booktabs}} and \\usepackage[T1]{{fontenc}}.")]
    if report.empty:
        lines.append(_comment(f"{report.empty.text} {report.empty.command}"))
    for table in report.tables:
        lines += ["", *_table(table)]
    for heading, notes in closing_notes(report):
        lines += [_comment(f"{heading}: {note.text} {note.command}") for note in notes]
    return "\n".join(lines) + "\n"


def _comment(line: str) -> str:
    return f"% {line}".replace("\n", " ").rstrip()


def _table(table: Table) -> list[str]:
    notes = table_notes(table)
    return [
        r"\begin{table*}[t]",
        r"\centering\footnotesize\setlength{\tabcolsep}{2.5pt}",
        rf"\begin{{tabular}}{{l{'c' * len(table.columns)}}}",
        r"\toprule",
        " & ".join(escape(name) for name in (table.axis, *(c.label for c in table.columns))) + r" \\",
        *_metrics(table.columns),
        r"\midrule",
        *(line for row in table.rows for line in _row(table, row)),
        r"\bottomrule", r"\end{tabular}",
        *(rf"\par{{\scriptsize {escape(note.text)}\par}}" for note in notes if note.kind in PRINTED),
        rf"\caption{{{_caption(table)}}}", r"\end{table*}",
        *(_comment(f"{note.text} {note.command}") for note in notes if note.kind not in PRINTED),
    ]  # fmt: skip


def _metrics(columns: Sequence[Column]) -> list[str]:
    """Return the small text below each column's name: the metrics and the number of examples.

    If a column has two metrics, they are on separate lines.
    """
    details = [[part for line in column.details for part in line.split(", ")] for column in columns]
    return [_small_line("", line) for line in itertools.zip_longest(*details, fillvalue="") if any(line)]


def _small_line(name: str, values: Sequence[str]) -> str:
    small = [rf"{{\scriptsize {escape(value)}}}" if value else "" for value in values]
    return " & ".join([name, *small]) + r" \\"


def _row(table: Table, row: Row) -> list[str]:
    """Return the line of means, and small lines below it with both intervals and the paper's numbers, if any."""
    cells = [row.cell(column.key) for column in table.columns]
    label = _label(row.label) + (rf" {{\scriptsize {escape(row.differs)}}}" if row.differs else "")
    lines = [" & ".join([label, *map(_mean, cells)]) + r" \\"]
    seeds = [format_seeds(cell) for cell in cells]
    examples = ["–".join(number(end, 1) for end in cell.test_interval or ()) for cell in cells]
    papers = [number(cell.paper, cell.digits) if cell.comparable and cell.paper is not None else "" for cell in cells]
    for name, values in (("seeds", seeds), ("examples", examples), ("paper", papers)):
        if any(values):
            lines.append(_small_line(rf"\quad{{\scriptsize {name}}}", values))
    return lines


def _mean(cell: Cell) -> str:
    shown = escape(cell_value(cell))
    if cell.best or cell.tied:
        shown = rf"\textbf{{{shown}}}"
    signs = cell_mark(cell).replace("~", "")
    return shown + (rf"\rlap{{$^{{{signs}}}$}}" if signs else "")


def _caption(table: Table) -> str:
    title = re.sub(r"^Table \d+: ", "", table.title)  # LaTeX numbers the tables
    words = [f"{title[:1].upper()}{title[1:]}. {table.heading}."]
    if table.section is not None:
        cells = [cell for row in table.rows for cell in row.cells.values()]
        bold = "Bold: the best (starred) and cells not significantly different from it by a paired randomisation test."
        beside = "The best is chosen by dev scores. Test scores are next to them."
        words.append(_seeds(cells))
        words += ["Examples: bootstrap of the scored set (95 %)."] * any(cell.test_interval for cell in cells)
        words += [bold] * any(cell.best for cell in cells)
        words += [beside] * any(column.kind == "beside" for column in table.columns)
        words += [table.caution] if table.caution else []
    return escape(" ".join(words))


def _seeds(cells: Sequence[Cell]) -> str:
    """Return text such as ``Mean over 2 to 3 seeds; seeds: the range of two, or …``."""
    counts = sorted({count_seeds(cell) for cell in cells if cell.by_seed and cell.runs})
    if not counts or counts == [1]:
        return "One seed each." if counts else "Mean over seeds."
    shown = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
    return f"Mean over {shown} seeds; seeds: {SEEDS}."


def _label(label: str) -> str:
    name, above, below = label_parts(label)
    raised = rf"\textsuperscript{{{above}}}" if above else ""
    return escape(name) + raised + (rf"\textsubscript{{{below}}}" if below else "")


def escape(value: str) -> str:
    """Escape LaTeX's special characters, and replace characters that its fonts may not contain."""
    shown = "".join(SPECIAL.get(character, character) for character in " ".join(visible(value).splitlines()))
    return shown.encode("latin-1", "replace").decode("latin-1")
