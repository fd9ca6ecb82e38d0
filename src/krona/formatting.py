"""Format text for the terminal: tables, durations, and values of overrides."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from krona.messages import escape_control_characters

PLAIN = re.compile(r"[\w./-]+", re.ASCII)  # text that Hydra parses without quotes

Cell = str | Text
GAP = "  "
NOTHING = "—"  # printed for an unknown value


def terminal_width(console: Console) -> int | None:
    """Return the width of the terminal in characters.

    Return None if the output is not a terminal (a pipe or a file), because lines are then not wrapped.
    """
    return console.width if console.is_terminal else None


def table(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], *, width: int | None, left: Collection[str] = ()
) -> Text:
    """Format rows as a table with headings. Empty columns are omitted, except the first column.

    Args:
        width: width of the terminal in characters; None: no limit. If the table is wider than the terminal, each row is
            printed as a record: the first cell on a separate line, then the other cells, each after its heading.
        left: headings of the left-aligned columns.
    """
    if width is None:  # only a terminal shows styles
        rows = [[str(cell) for cell in row] for row in rows]
    cells = [
        [escape_control_characters(cell) if isinstance(cell, str) else escape(cell) for cell in row] for row in rows
    ]
    used = [i for i in range(len(headings)) if i == 0 or any(len(row[i]) for row in cells)]
    names = [headings[i] for i in used]
    cells = [[row[i] for i in used] for row in cells]
    widths = [max([cell_len(name), *(_width(row[i]) for row in cells)]) for i, name in enumerate(names)]
    natural = sum(widths) + len(GAP) * (len(widths) - 1)
    if width is not None and natural > width:
        return _records(names, [[escape(cell) for cell in row] for row in cells], width)
    right = [name not in left for name in names]
    heading = _line([Text(name, style="bold") for name in names], widths, right)
    rule = Text("─" * natural, style="dim")
    return Text("\n").join([heading, rule, *(_line(row, widths, right) for row in cells)])


def format_p(p: float, digits: int = 4) -> str:
    """Format a p-value with ``digits`` decimals, or as ``< 0.0001`` if it is below the smallest of these numbers."""
    least = 10**-digits
    return f"< {least:.{digits}f}" if p < least else f"{p:.{digits}f}"


def duration(seconds: float) -> str:
    """Return a duration as text, such as ``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def say(console: Console, line: Cell, *, wrap: bool = True) -> None:
    """Print one line without rich's markup and highlighting.

    Long lines are wrapped if the output is a terminal, ``wrap`` is true, and ``console`` wraps lines.
    """
    if console.is_terminal:
        console.print(escape(line), highlight=False, markup=False, soft_wrap=None if wrap else True)
    elif not console.quiet:
        print(escape_control_characters(str(line)), file=console.file)


def show(*lines: object) -> None:
    """Print lines to standard output, with control characters escaped."""
    print(*(escape_control_characters(str(line)) for line in lines), sep="\n")


def escape(line: Cell) -> Text:
    """Escape control characters, so that text from a file cannot move the cursor or write to the clipboard."""
    text = line if isinstance(line, Text) else Text(line)
    escaped = escape_control_characters(text.plain)
    return text if escaped == text.plain else Text(escaped, style=text.style, spans=text.spans)


def _width(cell: Cell) -> int:
    return cell_len(cell) if isinstance(cell, str) else cell.cell_len


def _line(cells: Sequence[Cell], widths: Sequence[int], right: Sequence[bool]) -> Text:
    line: list[Cell] = []
    for cell, width, is_right in zip(cells, widths, right, strict=True):
        padding = " " * (width - _width(cell))
        line += [padding, cell, GAP] if is_right else [cell, padding, GAP]
    if all(isinstance(cell, str) for cell in cells):  # faster for many rows
        return Text("".join(map(str, line)).rstrip())
    text = Text.assemble(*line)
    text.rstrip()
    return text


def _records(names: Sequence[str], rows: Sequence[Sequence[Text]], width: int) -> Text:
    lines = []
    for first, *others in rows:
        lines.append(first)
        line = Text()
        for name, cell in zip(names[1:], others, strict=True):
            cell_text = Text.assemble(GAP, (f"{name} ", "dim"), cell)
            if cell.plain and line and line.cell_len + cell_text.cell_len > width:
                lines.append(line)
                line = Text()
            line += cell_text if cell.plain else Text()
        if line:
            lines.append(line)
    return Text("\n").join(lines)


def error_lines(message: str) -> str:
    """Format an error message for the terminal.

    Each line of the message describes one problem and gets the prefix ``error:``.
    """
    return escape_control_characters("\n".join(f"error: {line}" for line in message.split("\n")))


def override_text(text: str) -> str:
    """Return a text as the value of an override, in quotes if Hydra's grammar requires them."""
    if PLAIN.fullmatch(text):
        return text
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + (match[2] and "\\'"), text)
    return f"'{escaped}'"


def below(path: Path) -> str:
    """Return a path as text, relative to the working directory if this directory contains the path."""
    here, absolute = Path.cwd(), path.absolute()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def rate(examples_per_s: float) -> str:
    """Return a speed as text, such as ``202 examples/s`` or ``0.46 examples/s``."""
    return f"{examples_per_s:,.0f} examples/s" if examples_per_s >= 10 else f"{examples_per_s:.2g} examples/s"
