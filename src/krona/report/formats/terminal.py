"""The terminal format. A table that is too wide is split into several tables. A pipe or file gets no colors."""

import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from krona.formatting import as_typed, escape
from krona.messages import visible
from krona.report.charts.chart import LIGHT, slot
from krona.report.notes import closing_notes, table_notes
from krona.report.table import Cell, Column, Note, Report, Row, Table
from krona.report.wording import cell_details, cell_mark, cell_value, difference, legend, summarize

MOST_LINES = 20  # a section below the tables shows at most this number of notes


def render(report: Report, out: Path | None) -> str:
    """Return the report as text. Colors are written as ANSI sequences."""
    on_screen = out is None and sys.stdout.isatty()
    width = shutil.get_terminal_size((100, 24)).columns if on_screen else 100
    color = on_screen and "NO_COLOR" not in os.environ
    text = io.StringIO()
    system: Any = "256" if color else None
    console = Console(file=text, width=width, force_terminal=color, color_system=system, highlight=False)
    _print(console, report.title, "bold")
    for sentence in summarize(report):
        _print(console, sentence)
    _print(console, report.counts)
    if report.empty:
        _print_note(console, report.empty, "", dash="")
    for table in report.tables:
        _print(console, f"\n{table.heading}", "bold cyan")
        if table.caution:
            _print(console, table.caution, "yellow")
        for grid in _grids(console, table):
            console.print(grid)
        for note in table_notes(table):
            _print_note(console, note, "yellow" if note.kind == "warning" else "dim")
    if any(table.section for table in report.tables):
        _print(console, f"\n{legend(report)}", "dim")
    for heading, notes in closing_notes(report):
        _print(console, f"\n{heading}", "bold cyan")
        for note in notes[:MOST_LINES]:
            _print_note(console, note, "")
        if len(notes) > MOST_LINES:
            _print(console, f"… and {len(notes) - MOST_LINES} more. To see all, use --format html.")
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _print(console: Console, line: str, style: str = "") -> None:
    console.print(Text(as_typed(line), style=style))


def _print_note(console: Console, note: Note, style: str, *, dash: str = "- ") -> None:
    """Print the sentence of a note after a dash, and its command on a separate line that is not wrapped."""
    for i, part in enumerate(Text(as_typed(note.text)).wrap(console, console.width - len(dash))):
        _print(console, f"{' ' * len(dash) if i else dash}{part.plain.rstrip()}", style)
    if note.command:
        console.print(Text(f"    {as_typed(note.command)}", style=style), soft_wrap=True)


def _grids(console: Console, table: Table) -> list[Grid]:
    """Return the table as one or more grids that fit the width. Each grid repeats the labels of the rows."""
    found: list[Grid] = []
    columns: list[Column] = []
    for column in table.columns:
        grid = _grid(table, [*columns, column], console.width)
        if columns and console.measure(grid, options=console.options.update(max_width=10_000)).maximum > console.width:
            columns, grid = [column], _grid(table, [column], console.width)
            found.append(grid)
        else:
            columns.append(column)
            found[-1:] = [grid]
    return found


def _grid(table: Table, columns: Sequence[Column], width: int) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    grid.add_column(escape(table.axis), overflow="fold", max_width=max(11, width // 3))  # KronA^B_res must fit
    for column in columns:
        heading = "\n".join([*column.label.split(), *column.details])
        grid.add_column(escape(heading), justify="right", overflow="fold", vertical="top")
    rooms = [max((len(cell_mark(row.cell(column.key))) for row in table.rows), default=0) for column in columns]
    for row in table.rows:
        cells = (_cell(row.cell(column.key), room) for column, room in zip(columns, rooms, strict=True))
        grid.add_row(_label(row), *cells)
    return grid


def _label(row: Row) -> Text:
    label = Text(visible(row.label), style=LIGHT[slot(row.method) % len(LIGHT)])
    settings = row.differs.split(", ") if row.differs else []
    return label.append("".join(f"\n{visible(one)}" for one in settings), style="dim")


def _cell(cell: Cell, room: int) -> Text:
    """Return a cell with space for the longest mark of its column, so that the decimals are aligned."""
    if cell.value is None and cell.missing is None:
        return Text("")
    shown = Text(f"{cell_value(cell)}{cell_mark(cell):{room}}", style="bold" if cell.best or cell.tied else "")
    details = [*cell_details(cell), *filter(None, [difference(cell)])]
    return shown.append("".join(f"\n{line}{' ' * room * (line[0] in '±Δ')}" for line in details), style="dim")
