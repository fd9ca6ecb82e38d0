"""Tables for a paper: booktabs, one ``table*`` a section."""

import itertools
import re
from collections.abc import Sequence

from krona.report import text
from krona.report.notes import POWER_NOTE
from krona.report.table import Cell, Column, Report, Row, Table, Target

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "−": r"$-$", "–": "--", "—": "---", "⊗": r"$\otimes$", "·": r"$\cdot$",
    "Δ": r"$\Delta$", "→": r"$\to$", "…": r"\dots{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "×": r"$\times$",
    "³": r"\textsuperscript{3}",
}  # fmt: skip


def render(report: Report, target: Target) -> str:
    """Needs ``\\usepackage{booktabs}`` and ``\\usepackage[T1]{fontenc}``; nothing else."""
    lines = [f"% {report.title}. Needs \\usepackage{{booktabs}} and \\usepackage[T1]{{fontenc}}.".replace("\n", " ")]
    if report.empty:
        lines.append(f"% {' '.join(report.empty)}".replace("\n", " "))
    for table in report.tables:
        lines += ["", *_table(table)]
    for name, found in (("Not finished", text.unfinished_lines(report)), ("Could not be used", report.problems)):
        lines += [f"% {name}: {line}".replace("\n", " ") for line in found]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    power = [note for note in table.notes if note.startswith(POWER_NOTE)]
    notes = [note for note in table.notes if note not in power]
    notes += [" ".join(one).rstrip() for one in text.asides(table)]
    return [
        r"\begin{table*}[t]",
        r"\centering\footnotesize\setlength{\tabcolsep}{2.5pt}",
        rf"\begin{{tabular}}{{l{'c' * len(table.columns)}}}",
        r"\toprule",
        " & ".join(escape(name) for name in (table.axis, *(c.label for c in table.columns))) + r" \\",
        *_metrics(table.columns),
        r"\midrule",
        *(line for row in table.rows for line in _rows(table, row)),
        r"\bottomrule", r"\end{tabular}",
        *(rf"\par{{\scriptsize {escape(remark)}\par}}" for remark in (*text.remarks(table), *power)),
        rf"\caption{{{_caption(table)}}}", r"\end{table*}",
        *(f"% {note}".replace("\n", " ") for note in notes),
    ]  # fmt: skip


def _metrics(columns: Sequence[Column]) -> list[str]:
    """The metrics of the columns' scores, small below the names; two of a task below one another."""
    lines = itertools.zip_longest(*(column.metric.split(", ") for column in columns), fillvalue="")
    small = ([rf"{{\scriptsize {escape(name)}}}" if name else "" for name in line] for line in lines)
    return [" & ".join(["", *line]) + r" \\" for line in small if any(line)]


def _rows(table: Table, row: Row) -> list[str]:
    """The means; below them, small, both intervals and the paper's number, where there are any."""
    cells = [row.cells.get(column.key, Cell()) for column in table.columns]
    label = _label(row.label) + (rf" {{\scriptsize {escape(row.differs)}}}" if row.differs else "")
    lines = [" & ".join([label, *map(_mean, cells)]) + r" \\"]
    spreads, tests = [text.spread(cell) for cell in cells], [text.test_range(cell) for cell in cells]
    papers = [text.paper(cell) if cell.comparable else "" for cell in cells]
    for name, values in (("seeds", spreads), ("examples", tests), ("paper", papers)):
        if any(values):
            small = [rf"{{\scriptsize {escape(value)}}}" if value else "" for value in values]
            lines.append(" & ".join([rf"\quad{{\scriptsize {name}}}", *small]) + r" \\")
    return lines


def _mean(cell: Cell) -> str:
    shown = escape(text.value(cell))
    if cell.best or cell.tied:
        shown = rf"\textbf{{{shown}}}"
    signs = ("*" if cell.best else "") + text.warning(cell)
    return shown + (rf"\rlap{{$^{{{signs}}}$}}" if signs else "")


def _caption(table: Table) -> str:
    title = re.sub(r"^Table \d+: ", "", table.title)  # LaTeX counts its tables itself
    words = [f"{title[:1].upper()}{title[1:]}. {table.heading}."]
    if table.section is not None:
        cells = [cell for row in table.rows for cell in row.cells.values()]
        words.append(" ".join([_over_seeds(cells), *_examples(cells)]))
        if any(cell.best for cell in cells):
            words.append(
                "Bold: the best (starred) and those not significantly different from it by a paired randomisation test."
            )
        if any(column.kind == "beside" for column in table.columns):
            words.append("The best is chosen by dev; test stands beside it.")
        words += [table.section.caution] if table.section.caution else []
    return escape(" ".join(words))


def _over_seeds(cells: Sequence[Cell]) -> str:
    """``Mean over 2 to 3 seeds; seeds: the range of two, of more Student's t (95 %).``"""
    counts = sorted({text.fewest_seeds(cell) for cell in cells if text.seed_count(cell)})
    if not counts or counts == [1]:
        return "One seed each." if counts else "Mean over seeds."
    shown = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    kinds = ["the range of two"] if any(cell.seed_range for cell in cells) else []
    kinds += ["Student's t (95 %)"] if counts[-1] > 2 else []
    return f"Mean over {shown} seeds; seeds: {', of more '.join(kinds)}."


def _examples(cells: Sequence[Cell]) -> list[str]:
    return ["Examples: bootstrap of the scored set (95 %)."] if any(cell.test_interval for cell in cells) else []


def _label(label: str) -> str:
    name, above, below = text.label_parts(label)
    raised = rf"\textsuperscript{{{above}}}" if above else ""
    return escape(name) + raised + (rf"\textsubscript{{{below}}}" if below else "")


def escape(value: str) -> str:
    """Characters that LaTeX takes for commands, and those that its fonts may lack."""
    shown = "".join(SPECIAL.get(character, character) for character in " ".join(value.splitlines()))
    return shown.encode("latin-1", "replace").decode("latin-1")
