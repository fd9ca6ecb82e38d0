"""A report for a terminal: a table that is too wide is split into several; plain text in a pipe."""

import io
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from krona.messages import visible
from krona.report import text
from krona.report.charts.looks import LIGHT, slot
from krona.report.lead import lead
from krona.report.notes import study_sentences
from krona.report.table import Cell, Column, Report, Row, Table, Target
from krona.runs.constant_predictions import SIGN
from krona.screen import as_typed, escape


def render(report: Report, target: Target) -> str:
    """Colours are ANSI sequences."""
    from rich.console import Console
    from rich.text import Text

    on_screen = target.file is None and sys.stdout.isatty()
    width = target.width or (shutil.get_terminal_size((100, 24)).columns if on_screen else 100)
    color = on_screen and "NO_COLOR" not in os.environ if target.color is None else target.color
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, color_system="256" if color else None, highlight=False
    )

    def say(line: str = "", style: str = "") -> None:
        console.print(Text(as_typed(line), style=style))

    def say_command(command: str, style: str = "") -> None:
        """What is to be copied is a line of its own, however long."""
        if command:
            console.print(Text(f"    {as_typed(command)}", style=style), soft_wrap=True)

    def say_item(line: str, style: str = "") -> None:
        """After a dash, what is longer than a line indented."""
        for i, part in enumerate(Text(as_typed(line)).wrap(console, width - 2)):
            console.print(Text(f"{'  ' if i else '- '}{part.plain.rstrip()}", style=style))

    say(report.title, "bold")
    for sentence in lead(report):
        say(sentence)
    if report.empty:
        say(report.empty[0])
        say_command(report.empty[1])
    for table in report.tables:
        say()
        say(table.heading, "bold cyan")
        if table.section is not None and table.section.caution:
            say(table.section.caution, "yellow")
        for columns in _blocks(table, width):
            console.print(_grid(table, columns, width))
        for remark in text.remarks(table):
            say_item(remark, "yellow" if remark.startswith(SIGN) else "dim")
        for note in table.notes:
            say_item(note, "dim")
        for line, command in text.asides(table):
            say_item(line, "dim")
            say_command(command, "dim")
    if any(table.section for table in report.tables):
        say()
        say(text.legend(report, paper="Δ: minus the paper's number"), "dim")
    for study in report.studies:
        say()
        say(f"Study {study.name}", "bold cyan")
        for line in study_sentences(study, report.runs):
            say(line)
    unfinished = f"Not finished ({text.unfinished_counts(report.unfinished)})"
    unusable = f"Could not be used ({len(report.problems)})"
    for title, lines in ((unfinished, text.unfinished_lines(report)), (unusable, report.problems)):
        if lines:
            say()
            say(title, "bold red")
            for line in lines[:20]:
                say_item(line)
            if len(lines) > 20:
                say(f"… and {len(lines) - 20} more: --format html lists all")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def lines_of(cell: Cell) -> list[str]:
    """``76.32*``, ``±1.24``, ``69–83``, ``Δ−1.38``: a line each, those that there are."""
    ends = "–".join(text.number(end, 0) for end in cell.test_interval or ())
    gap = text.difference(cell)
    others = (text.spread(cell), text.seed_count(cell), ends, f"Δ{gap}" if gap else "")
    return [f"{text.value(cell)}{text.mark(cell)}", *filter(None, others)]


def _label(row: Row) -> str:
    return "\n".join([row.label, *(row.differs.split(", ") if row.differs else [])])  # a setting a line


def _named(row: Row) -> Any:
    """The label in its method's colour."""
    from rich.text import Text

    label, *settings = _label(row).split("\n")
    named = Text(visible(label), style=LIGHT[slot(row.method) % len(LIGHT)])
    return named.append("".join(f"\n{visible(one)}" for one in settings), style="dim")


def _blocks(table: Table, width: int) -> list[list[Column]]:
    """Columns that fit side by side; the row labels come again in each block."""
    room = left = width - 2 - _label_width(table, width)
    blocks: list[list[Column]] = [[]]
    for column in table.columns:
        needed = 2 + _width(table, column)
        if needed > left and blocks[-1]:
            blocks.append([])
            left = room
        blocks[-1].append(column)
        left -= needed
    return blocks


def _label_width(table: Table, width: int) -> int:
    labels = [line for row in table.rows for line in _label(row).split("\n")] + [table.axis]
    return min(max(map(len, labels)), max(11, width // 3))  # KronA^B_res whole


def _width(table: Table, column: Column) -> int:
    cells = [row.cells[column.key] for row in table.rows if column.key in row.cells]
    words = [*column.label.split(), *column.metric.split()]
    return max([*map(len, words), *(len(line) for cell in cells for line in _aligned(cell, cells))])


def _aligned(cell: Cell, column: Sequence[Cell]) -> list[str]:
    """Its lines, with room for the longest mark of the column after the number: decimals stand below one another."""
    longest = max((len(text.mark(one)) for one in column), default=0)
    first, *others = lines_of(cell)
    return [
        first + " " * (longest - len(text.mark(cell))),
        *(line + " " * longest * line.startswith(("±", "Δ")) for line in others),
    ]


def _grid(table: Table, columns: Sequence[Column], width: int) -> Any:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    grid.add_column(escape(table.axis), overflow="fold", width=_label_width(table, width))
    for column in columns:
        heading = "\n".join(filter(None, (column.label, column.metric)))
        grid.add_column(escape(heading), justify="right", overflow="fold", width=_width(table, column))
    for row in table.rows:
        cells = [_named(row)]
        for column in columns:
            cell = row.cells.get(column.key, Cell(missing=""))
            first, *others = _aligned(cell, [one.cells[column.key] for one in table.rows if column.key in one.cells])
            lines = Text(first, style="bold" if cell.best or cell.tied else "")
            if others:
                lines.append("\n" + "\n".join(others), style="dim")
            cells.append(lines)
        grid.add_row(*cells)
    return grid
