"""Curves of a setting: a line a method with intervals; below learning rates, what k trials are worth."""

import math
from collections.abc import Callable, Mapping, Sequence

from krona.report import crossings, palette
from krona.report.curves import RATE, Curves, best_of
from krona.report.formats.svg import pieces
from krona.report.table import Row

LEFT, RIGHT, HEIGHT = 60, 150, 280
APART = 3.0  # points of one value stand side by side, in pixels

Place = tuple[float, float, tuple[float, float] | None]  # x, score, interval


def drawn(curves: Curves) -> str:
    """The whole picture as SVG."""
    rates = curves.setting == RATE
    parts = [pieces.words(20, 26, curves.title, "ink title")]
    lines = {name: [(p.x, p.score, p.interval) for p in points] for name, points in curves.lines.items()}
    bars = any(interval for line in lines.values() for _, _, interval in line)
    label = ("Learning rate" if rates else "Training rows") + ", logarithmic"
    label += f"; bars: over seeds ({_bars_are(curves)}), cut at the edge." if bars else "."
    slots = {name: palette.slot(points[0].runs[0].result.method) for name, points in curves.lines.items()}
    panel, y = _panel(lines, slots, 50, label, scale=math.log, text=_rate if rates else _count)
    parts += panel
    if rates:
        best = {name: best_of(points) for name, points in curves.lines.items()}
        words = "Best of k of these rates, drawn at random: expected dev score (Dodge et al. 2019)."
        panel, y = _panel({n: [(k, dev, None) for k, dev, _ in b] for n, b in best.items()}, slots, y + 24, words)
        parts += panel
        tests = {n: [(k, t, None) for k, _, t in b if t is not None] for n, b in best.items()}
        if any(tests.values()):
            words = "The same trials: expected test score of the one that dev chooses."
            panel, y = _panel({n: line for n, line in tests.items() if line}, slots, y + 24, words)
            parts += panel
    below, y = pieces.lines(y + 6, *crossings.sentences(curves))
    return pieces.frame(y + 4, [*parts, *below])


def _bars_are(curves: Curves) -> str:
    seeds = {len(point.runs) for points in curves.lines.values() for point in points}
    kinds = ["the range of two"] if 2 in seeds else []
    return "; of more: ".join(kinds + (["Student's t, 95 %"] if max(seeds) > 2 else []))


def _panel(
    lines: Mapping[str, Sequence[Place]],
    slots: Mapping[str, int],
    top: float,
    words: str,
    *,
    scale: Callable[[float], float] = float,
    text: Callable[[float], str] = pieces.tick_text,
) -> tuple[list[str], float]:
    """One plot with ``words`` below it, and where it ends. ``scale`` of the x-axis, ``text`` of its values."""
    places = [place for line in lines.values() for place in line]
    values = sorted({x for x, _, _ in places})
    marks = pieces.ticks(*_range(places))
    left, right, bottom = LEFT, pieces.WIDTH - RIGHT, top + HEIGHT
    ends = scale(values[0]), scale(values[-1])

    def x(value: float) -> float:
        part = (scale(value) - ends[0]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 0.5
        return left + 24 + part * (right - left - 48)

    y = pieces.height_of(marks, bottom, HEIGHT)
    parts = pieces.levels(marks, y, left, right)
    last = -math.inf
    for value in values:
        if x(value) - last > 44:
            parts.append(pieces.words(x(value), bottom + 20, text(value), "soft", "middle"))
            last = x(value)
    bars = any(interval for _, _, interval in places)
    names = pieces.apart([y(line[-1][1]) for line in lines.values()])
    for i, (name, line) in enumerate(lines.items()):
        shift = (i - (len(lines) - 1) / 2) * APART if bars else 0.0
        parts += _line(slots[name], [(x(at) + shift, y(score), interval) for at, score, interval in line], y)
        parts += _name(slots[name], name, right + 6, names[i])
    below, end = pieces.lines(bottom + 44, words)
    return [*parts, *below], end


def _line(slot: int, places: Sequence[Place], y: Callable[[float], float]) -> list[str]:
    path = "L".join(f"{x:.1f},{score:.1f}" for x, score, _ in places)
    parts = [f'<path class="stroke" {pieces.hue(slot)} d="M{path}" stroke-width="2"/>']
    for x, score, interval in places:
        if interval:
            parts.append(pieces.line("stroke", x, y(interval[0]), x, y(interval[1]), 1.5, slot))
        parts.append(_mark(slot, x, score))
    return parts


def _name(slot: int, name: str, x: float, y: float) -> list[str]:
    """A line's name behind a piece of the line."""
    piece = f'<path class="stroke" {pieces.hue(slot)} d="M{x:.1f},{y:.1f}h22" stroke-width="2"/>'
    shown = pieces.label(Row(name, name))
    return [
        piece,
        _mark(slot, x + 11, y),
        f'<text class="fill bold" {pieces.hue(slot)} x="{x + 28:.1f}" y="{y + 4:.1f}">{shown}</text>',
    ]


def _mark(slot: int, x: float, y: float) -> str:
    shape = pieces.MARKS[palette.mark(slot)]
    return f'<path class="fill" {pieces.hue(slot)} d="{shape}" transform="translate({x:.1f},{y:.1f}) scale(0.8)"/>'


def _range(places: Sequence[Place]) -> tuple[float, float]:
    """Means fit, and intervals as far as they are not wider than a third of all means together."""
    values = [score for _, score, _ in places]
    room = (max(values) - min(values)) / 3 or 1.0
    ends = [end for _, _, interval in places for end in interval or ()]
    low, high = min([*values, *ends]), max([*values, *ends])
    return max(low, min(values) - room), min(high, max(values) + room)


def _rate(value: float) -> str:
    """``3e-4``"""
    digits, _, exponent = f"{value:.0e}".partition("e")
    exact = f"{value:.1e}".partition("e")[0]
    return f"{digits if exact.endswith('.0') else exact}e−{abs(int(exponent))}" if value < 1 else f"{value:g}"


def _count(value: float) -> str:
    return f"{value:,.0f}"
