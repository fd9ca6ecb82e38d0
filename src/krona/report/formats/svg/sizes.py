"""Score against parameters: a line for each method that was trained at several sizes, on a logarithmic axis."""

import math
from collections import defaultdict
from collections.abc import Callable

from krona.outputs.degenerate import SIGN
from krona.report import palette
from krona.report.formats.svg import pieces
from krona.report.table import Cell, Row
from krona.report.text import over_seeds

LEFT, RIGHT, HEIGHT = 72, 130, 300

SEVERAL = 1.2  # of the largest over the smallest: less is one size, such as that of several shapes
Point = tuple[int, Cell]  # trainable parameters, score
Lines = dict[str, list[Point]]  # of each method


def drawn(head: list[str], top: float, label: str, found: Lines, remarks: list[str]) -> str:
    """The picture below its ``head``; intervals over seeds, where there are several. Equal sizes stand at one place."""
    points = [point for line in found.values() for point in line]
    sizes = sorted({size for size, _ in points})
    marks = pieces.ticks(*_range([cell for _, cell in points]))
    left, right, bottom = LEFT, pieces.WIDTH - RIGHT, top + HEIGHT

    low, high = pieces.decade(sizes)

    def x(size: int) -> float:
        part = (math.log10(size) - low) / (high - low)
        return left + 24 + part * (right - left - 48)

    y = pieces.height_of(marks, bottom, HEIGHT)
    parts = [*head, *pieces.levels(marks, y, left, right)]
    last = -math.inf
    for size in sizes:
        if x(size) - last > 48:
            parts.append(pieces.words(x(size), bottom + 20, pieces.tick_text(size), "soft", "middle"))
            last = x(size)
    ends = pieces.apart([y(line[-1][1].value or 0.0) for line in found.values()])
    for i, (name, line) in enumerate(found.items()):
        slot = _slot(line)
        parts += _line(slot, [(x(size), cell) for size, cell in line], y, (marks[0], marks[-1]))
        named = pieces.label(Row(name, name))
        parts.append(f'<text class="fill bold" {pieces.hue(slot)} x="{right + 6}" y="{ends[i] + 4:.1f}">{named}</text>')
    bars = [end for _, cell in points for end in cell.over_seeds or ()]
    cut = "; arrow: it goes on" if any(not marks[0] <= end <= marks[-1] for end in bars) else ""
    across = (left + right) / 2
    parts.append(pieces.words(across, bottom + 40, "trainable parameters, logarithmic", "ink", "middle"))
    parts.append(f'<g transform="translate(16,{top + HEIGHT / 2:.0f}) rotate(-90)">'
                 f'{pieces.words(0, 0, f"{label}, score (0–100)", "ink", "middle")}</g>')  # fmt: skip
    bars_are = [f"Bars: over seeds ({kinds}){cut}." for kinds in over_seeds(cell for _, cell in points)]
    below, end = pieces.lines(bottom + 64, *bars_are, *remarks)
    return pieces.frame(end + 4, [*parts, *below])


def lines_by_size(rows: list[tuple[Row, Cell]]) -> Lines:
    """The points by size of each method that has several sizes."""
    found: dict[str, list[Point]] = defaultdict(list)
    for row, cell in rows:
        sizes = {run.result.trainable_params for run in cell.runs}
        if len(sizes) == 1 and (size := sizes.pop()):
            found[row.label].append((size, cell))
    lines = {name: sorted(points, key=lambda point: point[0]) for name, points in found.items()}
    return {name: points for name, points in lines.items() if points[-1][0] >= SEVERAL * points[0][0]}


def _slot(line: list[Point]) -> int:
    return palette.slot(next(run.result.method for _, cell in line for run in cell.runs))


def _line(
    slot: int, places: list[tuple[float, Cell]], y: Callable[[float], float], ends: tuple[float, float]
) -> list[str]:
    path = "L".join(f"{x:.1f},{y(cell.value or 0.0):.1f}" for x, cell in places)
    parts = [f'<path class="stroke" {pieces.hue(slot)} d="M{path}" stroke-width="2"/>']
    for x, cell in places:
        if cell.over_seeds:
            low, high = cell.over_seeds
            parts.append(pieces.line("stroke", x, y(low), x, y(high), 1.5, slot))
            parts += [pieces.arrow(x, y(low), "down", slot)] if low < ends[0] else []
            parts += [pieces.arrow(x, y(high), "up", slot)] if high > ends[1] else []
        if cell.warned:
            parts.append(pieces.words(x, y(cell.value or 0.0) - 9, SIGN, "ink bold", "middle"))
        place = f"translate({x:.1f},{y(cell.value or 0.0):.1f})"
        shape = pieces.MARKS[palette.mark(slot)]
        parts.append(f'<path class="fill" {pieces.hue(slot)} d="{shape}" transform="{place}"/>')
    return parts


def _range(cells: list[Cell]) -> tuple[float, float]:
    """Means fit, and intervals as far as they are not wider than all means together; a wider one is cut."""
    values = [cell.value for cell in cells if cell.value is not None]
    room = max(values) - min(values) or 1.0
    ends = [end for cell in cells for end in cell.over_seeds or ()]
    low, high = min([*values, *ends]), max([*values, *ends])
    return max(low, min(values) - room), min(high, max(values) + room)
