"""One SVG: of a table a line a method, score by parameters where methods have several sizes, or curves of a setting."""

from collections.abc import Callable

from krona.messages import amount
from krona.report import palette, text
from krona.report.curves import curves_of
from krona.report.formats.svg import costs, lines, pieces, sizes
from krona.report.table import Cell, Column, Report, Row, Table, Target

LEFT, RIGHT, STEP = 150, 120, 30
RANGED = 178  # pixels beside the axis where numbers have the range of two seeds


def render(report: Report, target: Target) -> str:
    """SVG text: curves of the first task that has them, else the first table that has scores.

    Of a table its average if it has one in a row, else its first task.
    """
    if curves := curves_of(report.runs):
        return lines.drawn(curves[0])
    for table in report.tables:
        column = _column(table)
        if table.section is not None and column is not None:
            rows = [(row, row.cells[column.key]) for row in table.rows if row.cells[column.key].value is not None]
            by_size = sizes.lines_by_size(rows)
            head, y = _head(table, column, [cell for _, cell in rows], bold=not by_size)
            remarks = text.remarks(table, column)
            return (
                sizes.drawn(head, y, column.label, by_size, remarks)
                if by_size
                else _drawn(head, y, column, table.scored_on(column), rows, remarks)
            )
    parts, bottom = pieces.lines(40, " ".join(report.empty) if report.empty else "No finished run.")
    return pieces.frame(bottom + 20, parts)


def _column(table: Table) -> Column | None:
    order = ("average", "beside", "task")  # test where dev only chooses
    cells = {key: cell for row in table.rows for key, cell in row.cells.items() if cell.value is not None}
    scored = [column for column in table.columns if column.kind in order and column.key in cells]
    return min(scored, key=lambda column: order.index(column.kind), default=None)


def _head(table: Table, column: Column, cells: list[Cell], *, bold: bool) -> tuple[list[str], float]:
    """The title and what must be known of the numbers, and where the picture may begin."""
    seeds = sorted({text.fewest_seeds(cell) for cell in cells})
    count = amount(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    marked = bold and any(cell.best for cell in cells)
    bold_is = " Bold: the best, and what is not significantly different from it." if marked else ""
    caution = table.section and table.section.caution
    below, y = pieces.lines(46, f"{count}.{bold_is} {caution or ''}".strip())
    return [pieces.words(20, 26, f"{column.label}: {table.heading}", "ink title"), *below], y


def _drawn(
    head: list[str], y: float, column: Column, split: str, rows: list[tuple[Row, Cell]], remarks: list[str]
) -> str:
    marks, left = pieces.ticks(*_range([cell for _, cell in rows])), _left(rows)
    low, high = marks[0], marks[-1]
    right = pieces.WIDTH - (RANGED if any(cell.seed_range for _, cell in rows) else RIGHT)

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    if len(rows) == 1:  # one point is no picture
        ((row, cell),) = rows
        shown = f"{text.value(cell)}{text.warning(cell)} {text.spread(cell)}".strip()
        named = f'<text class="ink" x="20" y="{y + 16}">{pieces.label(row)}</text>'
        below, end = pieces.lines(y + 46, *remarks)
        return pieces.frame(end + 10, [*head, named, pieces.words(left, y + 16, shown, "ink"), *below])
    bottom = y + STEP * len(rows)
    parts = head
    for value in marks:
        parts += [pieces.line("line", x(value), y - 4, x(value), bottom)]
        parts += [pieces.words(x(value), bottom + 18, pieces.tick_text(value), "soft", "middle")]
    for i, (row, cell) in enumerate(rows):
        parts += _row(row, cell, y + STEP * i + STEP / 2 - 4, (left, right), x)
    parts.append(pieces.words((left + right) / 2, bottom + 36, f"{column.label}, score (0–100)", "ink", "middle"))
    cut = any(x(end) < left - 0.5 or x(end) > right + 0.5 for _, cell in rows for end in cell.over_seeds or ())
    legend = _lines_are([cell for _, cell in rows])
    legend += " Ring: the paper." if any(cell.paper is not None for _, cell in rows) else ""
    legend += " Arrow: the interval goes on." if cut else ""
    below, end = pieces.lines(bottom + 60, legend)
    small, end, told = costs.panels(rows, split, f"{column.label}, score", end + 14)
    more, end = pieces.lines(end + 20 if small else end, *filter(None, [told]), *remarks)
    return pieces.frame(end + 4, [*parts, *below, *small, *more])


def _lines_are(cells: list[Cell]) -> str:
    """What the two lines of a row are, as far as some row has them."""
    told = [f"Upper line: over seeds ({kinds})." for kinds in text.over_seeds(cells)]
    if any(cell.test_interval for cell in cells):
        told.append(f"{'Lower line' if told else 'Line'}: over test sets (bootstrap, 95 %).")
    return " ".join(told)


def _row(row: Row, cell: Cell, y: float, ends: tuple[float, float], x: Callable[[float], float]) -> list[str]:
    assert cell.value is not None
    slot, (left, right) = palette.slot(palette.method_of(row)), ends
    parts = [f'<text class="ink" x="20" y="{y + 5}">{pieces.label(row)}</text>']
    for interval, name, width, at in ((cell.test_interval, "test", 3, y + 9), (cell.over_seeds, "seeds", 4, y)):
        if interval is not None and x(interval[1]) > left:
            a, b = (min(right, max(left, x(end))) for end in interval)
            parts.append(pieces.line(name, a, at, b, at, width, slot))
            parts += [pieces.arrow(a, at, "left", slot)] if x(interval[0]) < left - 0.5 else []
            parts += [pieces.arrow(b, at, "right", slot)] if x(interval[1]) > right + 0.5 else []
    if x(cell.value) < left:  # too far below the others to be drawn with them
        parts.append(f'<path class="mark" {pieces.hue(slot)} d="M{left},{y - 6}v12l-9,-6z"/>')
    else:
        parts.append(f'<circle class="mark" {pieces.hue(slot)} cx="{x(cell.value):.1f}" cy="{y}" r="5.5"/>')
    if cell.paper is not None:
        parts.append(f'<circle class="ring" cx="{x(cell.paper):.1f}" cy="{y}" r="6" stroke-width="2"/>')
    shown = f"{text.value(cell)}{text.warning(cell)} {text.spread(cell)}".strip()
    parts.append(pieces.words(right + 12, y + 5, shown, "ink bold" if cell.best or cell.tied else "ink"))
    return parts


def _left(rows: list[tuple[Row, Cell]]) -> float:
    """Where the axis begins: behind the longest name."""
    longest = max(len(row.label) * 7.4 + len(row.differs) * 5.4 for row, _ in rows)
    return min(max(LEFT, 34 + longest), pieces.WIDTH / 2)


def _range(cells: list[Cell]) -> tuple[float, float]:
    """What fits: test intervals, means, seeds' intervals up to twice that. One row far below the others is cut."""
    if (far := pieces.far_below([cell.value for cell in cells if cell.value is not None])) is not None:
        cells = [cell for cell in cells if cell.value != far]
    ends = [end for cell in cells for end in (*(cell.test_interval or ()), cell.value, cell.paper) if end is not None]
    low, high = min(ends), max(ends)
    room = (high - low) / 2
    seeds = [min(high + room, 100.0, max(low - room, end)) for cell in cells for end in cell.over_seeds or ()]
    return min(ends + seeds), max(ends + seeds)
