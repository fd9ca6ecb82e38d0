"""Score against parameters, training time and peak memory: small pictures side by side, the Pareto front marked.

Rows of one budget and of many ranks have the rank and the learned effective rank in the place of parameters and memory.
"""

import math
from collections.abc import Callable, Sequence

from krona.report import front, palette
from krona.report.formats.svg import pieces
from krona.report.formats.svg.sizes import SEVERAL
from krona.report.front import Standing
from krona.report.table import Cell, Row
from krona.report.text import label_parts

LEFT, RIGHT, GAP, HEIGHT = 62, 20, 26, 150
TITLES = {
    "params": ("trainable parameters, log.", 1.0),
    "time": ("training time (s)", 1.0),
    "memory": ("peak memory (GB)", 1e9),
    "rank": ("highest rank, log.", 1.0),
    "effective": ("learned effective rank, log.", 1.0),
}
LOGARITHMIC = ("params", "rank", "effective")
LETTER = 6.0  # px, of the small letters
RANKS = 4  # as many different ranks are a question about rank
LEGEND = "Lower pictures: filled and joined is the Pareto front, where no other row scores as high at as low a cost."
SHIFTS = (-5, 4, 15, -18, 28)  # of a name below its point, px
Box = tuple[float, float, float, float]  # left, top, right, bottom
Found = list[tuple[Row, Cell, Standing]]


def panels(rows: Sequence[tuple[Row, Cell]], split: str, label: str, top: float) -> tuple[list[str], float, str]:
    """A picture for each cost that differs between rows, where they end, and the sentence that explains them."""
    known = _by_rank(rows)
    for cost in ("time",) if known else ("params", "time", "memory"):
        standings = front.standings([cell.runs for _, cell in rows], split, cost)
        found = [(row, cell, one) for (row, cell), one in zip(rows, standings, strict=True) if one is not None]
        if len({one.cost for *_, one in found}) > 1:
            known[cost] = found
    if not known:
        return [], top, ""
    by_row = {id(cell): cell.value for found in known.values() for _, cell, _ in found if cell.value is not None}
    far = pieces.far_below(list(by_row.values())) if len(by_row) > 3 else None
    values = [value for value in by_row.values() if value != far]
    marks = pieces.ticks(min(values), max(values))
    across = (pieces.WIDTH - LEFT - RIGHT - GAP * (len(known) - 1)) / len(known)
    bottom = top + HEIGHT

    y = pieces.height_of(marks, bottom, HEIGHT)
    parts = [pieces.words(LEFT - 8, y(mark) + 4, pieces.tick_text(mark), "soft", "end") for mark in marks]
    turned = pieces.words(0, 0, label, "ink", "middle")
    parts.append(f'<g transform="translate(16,{top + HEIGHT / 2:.0f}) rotate(-90)">{turned}</g>')
    for number, (cost, found) in enumerate(known.items()):
        left = LEFT + number * (across + GAP)
        parts += [pieces.line("line", left, y(mark), left + across, y(mark)) for mark in marks]
        parts += _panel(cost, found, left, across, bottom, y, far)
    sure = any(one.probability is not None for found in known.values() for *_, one in found)
    if "rank" in known:
        return parts, bottom + 40, "Lower pictures: all rows train as many parameters."
    return parts, bottom + 40, f"{LEGEND} %: how often that holds when the seeds are drawn anew." if sure else LEGEND


def _by_rank(rows: Sequence[tuple[Row, Cell]]) -> dict[str, Found]:
    """The highest rank and the learned effective rank, of rows that train equally much at several ranks; else empty."""
    sizes = [run.result.trainable_params or 0 for _, cell in rows for run in cell.runs]
    highest = [(row, cell, Standing(rank, False, None)) for row, cell in rows if (rank := _rank(cell))]
    if len({one.cost for *_, one in highest}) < RANKS or max(sizes) >= SEVERAL * min(sizes):
        return {}
    effective = [(row, cell, row.cells.get("effective", Cell()).value) for row, cell in rows]
    learned = [(row, cell, Standing(rank, False, None)) for row, cell, rank in effective if rank]
    return {"rank": highest} | ({"effective": learned} if len(learned) > 1 else {})


def _rank(cell: Cell) -> int:
    """The highest that one layer's update can have; 0: none, or not known."""
    return max((run.result.provenance.get("update_rank") or 0 for run in cell.runs), default=0)


def _panel(
    cost: str, found: Found, left: float, across: float, bottom: float, y: Callable[[float], float], far: float | None
) -> list[str]:
    """``far``: a score below the axis, which is an arrow."""
    title, unit = TITLES[cost]
    spent = [one.cost / unit for *_, one in found]
    if cost in LOGARITHMIC:
        low, high = pieces.decade(spent)
        steps = (1.0,) if cost == "params" else (1.0, 3.0)
        ticks = [step * 10.0**power for power in range(math.floor(low), math.floor(high) + 1) for step in steps]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high] or [min(spent)]
    else:  # a cost starts at nothing
        low, high = 0.0, max(spent)
        ticks = [tick for tick in pieces.ticks(low, high)[::2] if tick <= high]

    def x(value: float) -> float:
        place = math.log10(value) if cost in LOGARITHMIC else value
        return left + 8 + (place - low) / (high - low) * (across - 16)

    parts = [pieces.words(left + across / 2, bottom + 36, title, "ink", "middle")]
    parts += [pieces.words(x(tick), bottom + 17, pieces.tick_text(tick), "soft", "middle") for tick in ticks]
    best = sorted((one.cost / unit, cell.value or 0.0) for _, cell, one in found if one.on_front)
    stairs = "".join(f"H{x(a):.1f}V{y(b):.1f}" for a, b in best[1:])
    parts += [f'<path class="front" d="M{x(best[0][0]):.1f},{y(best[0][1]):.1f}{stairs}"/>'] if best else []
    for row, cell, one in sorted(found, key=lambda each: each[2].on_front):
        slot = palette.slot(palette.method_of(row))
        place = f"translate({x(one.cost / unit):.1f},{y(cell.value or 0.0):.1f})"
        shape, kind = pieces.MARKS[palette.mark(slot)], "fill" if one.on_front or not best else "stroke hollow"
        sure = "" if one.probability is None else f", on the front: {100 * one.probability:.0f} %"
        told = f"<title>{pieces.plain(row)}{sure}</title>"
        if cell.value == far:
            parts.append(f"<g>{told}{pieces.arrow(x(one.cost / unit), bottom + 4, 'down', slot)}</g>")
            continue
        parts.append(f'<path class="{kind}" {pieces.hue(slot)} d="{shape}" transform="{place}">{told}</path>')
    return [*parts, *_names(found, unit, x, y, left, left + across)]


def _names(
    found: Found, unit: float, x: Callable[[float], float], y: Callable[[float], float], left: float, right: float
) -> list[str]:
    """The names of the points on the front, each with its probability, where they cover no point and no other name."""
    parts: list[str] = []
    taken = [_around(x(one.cost / unit), y(cell.value or 0.0)) for _, cell, one in found]
    labels = [row.label for row, *_ in found]
    for row, cell, one in found:
        if not one.on_front:
            continue
        sure = "" if one.probability is None else f" {100 * one.probability:.0f} %"
        several = labels.count(row.label) > 1 and row.differs
        name = row.differs.rpartition("=")[2] if several else row.label
        width, at, point = LETTER * len(name + sure), x(one.cost / unit), y(cell.value or 0.0)
        places = [(start, point + shift) for shift in SHIFTS for start in (at + 8, at - 8 - width)]
        free = ((start, height) for start, height in places if left <= start and start + width <= right + 20)
        boxes = (((start, height - 12, start + width, height + 2), start, height) for start, height in free)
        if (place := next((place for place in boxes if not _meets(place[0], taken)), None)) is None:
            continue  # its tooltip has it
        box, start, height = place
        taken.append(box)
        _, above, below = label_parts(name)
        back = (5 if above else 0) - (8 if below else 0)  # to the line that the name began on
        more = f'<tspan dy="{back}">{sure}</tspan>' if sure else ""
        named = pieces.label(Row(row.key, name))
        parts.append(f'<text class="ink small" x="{start:.1f}" y="{height:.1f}">{named}{more}</text>')
    return parts


def _around(x: float, y: float) -> Box:
    return x - 5, y - 5, x + 5, y + 5


def _meets(box: Box, others: list[Box]) -> bool:
    return any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in others)
