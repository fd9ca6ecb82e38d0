"""Score against parameters: a line for each method that was trained at several sizes, on a logarithmic axis."""

import math
from collections import defaultdict
from collections.abc import Callable

from krona.outputs.degenerate import SIGN
from krona.report.formats.svg import pieces
from krona.report.table import Cell, Row

LEFT, RIGHT, HEIGHT = 60, 130, 300
APART = 7.0  # points of one size stand side by side, in pixels

Point = tuple[int, Cell]  # trainable parameters, score
Lines = dict[str, list[Point]]  # of each method


def drawn(head: list[str], top: float, found: Lines, remarks: list[str]) -> str:
    """The picture below its ``head``; intervals over seeds, where there are several."""
    points = [point for line in found.values() for point in line]
    sizes = sorted({size for size, _ in points})
    marks = pieces.ticks(*_range([cell for _, cell in points]))
    left, right, bottom = LEFT, pieces.WIDTH - RIGHT, top + HEIGHT

    def x(size: int) -> float:
        part = (math.log(size) - math.log(sizes[0])) / (math.log(sizes[-1]) - math.log(sizes[0]))
        return left + 24 + part * (right - left - 48)

    def y(value: float) -> float:
        return bottom - (min(max(value, marks[0]), marks[-1]) - marks[0]) / (marks[-1] - marks[0]) * HEIGHT

    parts = head
    for value in marks:
        parts.append(pieces.line("line", left, y(value), right, y(value)))
        parts.append(pieces.words(left - 8, y(value) + 4, pieces.tick_text(value), "soft", "end"))
    last = -math.inf
    for size in sizes:
        if x(size) - last > 48:
            parts.append(pieces.words(x(size), bottom + 20, pieces.tick_text(size), "soft", "middle"))
            last = x(size)
    ends = pieces.apart([y(line[-1][1].value or 0.0) for line in found.values()])
    for i, (name, line) in enumerate(found.items()):
        shift = (i - (len(found) - 1) / 2) * APART
        places = [(x(size) + shift, cell) for size, cell in line]
        parts += _line(i % len(pieces.MARKS), places, y)
        named = pieces.label(Row(name, name))
        parts.append(f'<text class="fill s{i % 4} bold" x="{right + 6}" y="{ends[i] + 4:.1f}">{named}</text>')
    bars = [end for _, cell in points for end in cell.interval or ()]
    cut = ", cut at the edge" if any(not marks[0] <= end <= marks[-1] for end in bars) else ""
    intervals = f"; bars: over seeds (Student's t, 95 %){cut}" if bars else ""
    below, end = pieces.lines(bottom + 44, f"Trainable parameters, logarithmic{intervals}.", *remarks)
    return pieces.frame(end + 4, [*parts, *below])


def lines_by_size(rows: list[tuple[Row, Cell]]) -> Lines:
    """The points by size of each method that has several sizes."""
    found: dict[str, list[Point]] = defaultdict(list)
    for row, cell in rows:
        sizes = {run.result.trainable_params for run in cell.runs}
        if len(sizes) == 1 and (size := sizes.pop()):
            found[row.label].append((size, cell))
    lines = {name: sorted(points, key=lambda point: point[0]) for name, points in found.items()}
    return {name: points for name, points in lines.items() if points[0][0] < points[-1][0]}


def _line(i: int, places: list[tuple[float, Cell]], y: Callable[[float], float]) -> list[str]:
    path = "L".join(f"{x:.1f},{y(cell.value or 0.0):.1f}" for x, cell in places)
    parts = [f'<path class="stroke s{i}" d="M{path}" stroke-width="2"/>']
    for x, cell in places:
        if cell.interval:
            low, high = cell.interval
            parts.append(pieces.line(f"stroke s{i}", x, y(low), x, y(high), 1.5))
        if cell.warned:
            parts.append(pieces.words(x, y(cell.value or 0.0) - 9, SIGN, "ink bold", "middle"))
        parts.append(
            f'<path class="fill s{i}" d="{pieces.MARKS[i]}" transform="translate({x:.1f},{y(cell.value or 0.0):.1f})"/>'
        )
    return parts


def _range(cells: list[Cell]) -> tuple[float, float]:
    """Means fit, and intervals as far as they are not wider than all means together; a wider one is cut."""
    values = [cell.value for cell in cells if cell.value is not None]
    room = max(values) - min(values) or 1.0
    ends = [end for cell in cells for end in cell.interval or ()]
    low, high = min([*values, *ends]), max([*values, *ends])
    return max(low, min(values) - room), min(high, max(values) + room)
