"""SVG elements of the pictures, readable on light and dark pages."""

import itertools
import math
import textwrap
from collections.abc import Callable, Sequence
from html import escape

from krona.report import palette
from krona.report.table import Row
from krona.report.text import label_parts

WIDTH = 760
STYLE = """
.ink{fill:#1d1f23}.soft{fill:#5c626d}.line{stroke:#d9dbe0}.mark,.beyond{fill:var(--c)}.seeds{stroke:var(--c)}
.test{stroke:var(--c);opacity:.4}.ring{stroke:#c47a00;fill:none}.bold{font-weight:700}
.front{stroke:#5c626d;fill:none;stroke-dasharray:5 3}.hollow{stroke-width:1.6}
.small{font-size:11px;paint-order:stroke;stroke:#fff;stroke-width:2px}
.stroke{stroke:var(--c);fill:none}.fill{fill:var(--c)}
text{font-family:system-ui,sans-serif;font-size:13px}.title{font-weight:600;font-size:15px}.back{fill:#fff}
@media (prefers-color-scheme:dark){.ink{fill:#e6e7ea}.soft{fill:#a2a8b4}.line{stroke:#343943}.ring{stroke:#efb118}
.front{stroke:#a2a8b4}.back{fill:#15171b}.small{stroke:#15171b}}
"""
MARKS = ("M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0", "M-4.5,-4.5h9v9h-9z", "M0,-5.6L5.4,4.2H-5.4z", "M0,-6L6,0L0,6L-6,0z")
LETTER = 6.9  # mean width of a letter at 13 px


def frame(height: float, parts: list[str]) -> str:
    """The whole picture."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img">'
        f"<style>{palette.css()}{STYLE}</style>"
        f'<rect class="back" width="{WIDTH}" height="{height:.0f}" rx="6"/>{"".join(parts)}</svg>\n'
    )


def words(x: float, y: float, value: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(value)}</text>'


def lines(y: float, *values: str) -> tuple[list[str], float]:
    """Paragraphs that are broken to the picture's width, and where they end."""
    broken = [line for value in values for line in textwrap.wrap(value, int((WIDTH - 40) / LETTER))]
    return [words(20, y + 18 * i, line, "soft") for i, line in enumerate(broken)], y + 18 * len(broken)


def plain(row: Row) -> str:
    """The row's whole name, for a tooltip."""
    return escape(f"{row.label} ({row.differs})" if row.differs else row.label)


def hue(slot: int) -> str:
    """The attribute that gives an element and its children a method's colour."""
    return f'style="--c:var(--c{slot % len(palette.LIGHT)})"'


def arrow(x: float, y: float, direction: str, slot: int) -> str:
    """Where an interval goes on beyond the axis; ``direction``: left, right, up or down."""
    turned = {"right": 0, "down": 90, "left": 180, "up": 270}[direction]
    place = f"translate({x:.1f},{y:.1f}) rotate({turned})"
    return f'<path class="beyond" {hue(slot)} d="M0,0l-9,-5.5v11z" transform="{place}"/>'


def line(kind: str, x1: float, y1: float, x2: float, y2: float, width: float = 1, slot: int = 0) -> str:
    ends = f'x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"'
    colour = "" if kind == "line" else f" {hue(slot)}"
    return f'<line class="{kind}"{colour} {ends} stroke-width="{width}"/>'


def label(row: Row) -> str:
    """The row's name, small behind it the settings that tell it from others."""
    name, above, below = map(escape, label_parts(row.label))
    shown = name + (f'<tspan dy="-5" style="font-size:10px">{above}</tspan>' if above else "")
    shown += f'<tspan dy="8" style="font-size:10px">{below}</tspan>' if below else ""
    return shown + (f'<tspan class="soft" style="font-size:10px"> {escape(row.differs)}</tspan>' if row.differs else "")


def decade(values: Sequence[float]) -> tuple[float, float]:
    """A logarithmic axis' ends as exponents: a decade at least, so that a few percent do not look like a difference."""
    low, high = math.log10(min(values)), math.log10(max(values))
    short = max(0.0, 1 - (high - low)) / 2
    return low - short, high + short


def far_below(values: list[float]) -> float | None:
    """A lowest value so far below the others that an axis leaves it out."""
    ordered = sorted(values)
    far = len(ordered) > 2 and ordered[1] - ordered[0] > 1.5 * (ordered[-1] - ordered[1])
    return ordered[0] if far else None


def ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers that span ``low`` to ``high``; around a single value, one unit."""
    low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
    rough = (high - low) / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * i for i in range(first, last + 1)]


def height_of(marks: list[float], bottom: float, height: float) -> Callable[[float], float]:
    """Where a value stands on an upright axis from the first to the last of ``marks``; one beyond stands at its end."""

    def y(value: float) -> float:
        return bottom - (min(max(value, marks[0]), marks[-1]) - marks[0]) / (marks[-1] - marks[0]) * height

    return y


def levels(marks: list[float], y: Callable[[float], float], left: float, right: float) -> list[str]:
    """A line across the plot at each mark, and its number before it."""
    parts = []
    for value in marks:
        parts.append(line("line", left, y(value), right, y(value)))
        parts.append(words(left - 8, y(value) + 4, tick_text(value), "soft", "end"))
    return parts


def tick_text(value: float) -> str:
    """A tick's number without needless zeros; 158k, 2.2M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}".replace("-", "−")


def apart(places: list[float]) -> list[float]:
    """Names at the lines' ends, moved so that none lies on another."""
    moved = list(places)
    for before, after in itertools.pairwise(sorted(range(len(places)), key=places.__getitem__)):
        moved[after] = max(moved[after], moved[before] + 17)
    return moved
