"""Choose the colour and the mark of each method, which are the same in a whole report."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from krona.display_names import method_labels, method_order, style_index

COLORS = (  # each colour has a contrast of at least 3 on white and on black, the backgrounds of pages and terminals
    "#4269d0", "#c47a00", "#d6403a", "#268f80", "#7a3fb5", "#3ca951", "#d6478f", "#7a5c1e", "#5b7083", "#0f8bb5",
    "#7d7d00", "#a0522d",
)  # fmt: skip
# Maps matplotlib's marker names to characters for legends.
MARKS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "*": "★"}
FIRST_MARKS = 4  # the number of marks for the first slots, with each colour; the others are for the next slots
SLOTS = len(MARKS) * len(COLORS)
INK, SOFT, GRID, PAPER = "#1d1f23", "#5c626d", "#d9dbe0", "#fdfdfb"
DARK = {INK: "#e6e7ea", SOFT: "#a2a8b4", GRID: "#343943", PAPER: "#15171b"}  # the colours of charts on a dark page
BETTER, WORSE = COLORS[9], COLORS[2]


@dataclass(frozen=True)
class Style:
    """The style of a method."""

    color: str
    mark: str

    @property
    def sign(self) -> str:
        """The marker as a character for a legend."""
        return MARKS[self.mark]


def slot(method: str) -> int:
    """Return the index of a method's colour and mark: from the ``order`` in its YAML, or a free one by its name."""
    order = style_index(method)
    if order is not None:
        return order % SLOTS
    taken = {style_index(name) for name in method_labels()}
    free = [index for index in range(SLOTS) if index not in taken]
    return free[zlib.crc32(method.encode()) % len(free)]


def assign_slots(methods: Iterable[str]) -> dict[str, int]:
    """Return the index of the colour and mark of each method in a report.

    If several methods have the same colour, the first of them keeps its `slot`, and the others get colours that no
    method of the report has, while there are any.
    """
    slots = {method: slot(method) for method in sorted({*methods}, key=method_order)}
    first = {index % len(COLORS): method for method, index in reversed(slots.items())}  # of each colour
    free = (color for color in range(len(COLORS)) if color not in first)
    return {method: index if method in first.values() else next(free, index) for method, index in slots.items()}


def method_style(method: str, *, among: Iterable[str] = ()) -> Style:
    """Return the style of a method. ``among`` are all methods of the report."""
    index = assign_slots([method, *among])[method]
    first = index < FIRST_MARKS * len(COLORS)
    marks = [*MARKS][:FIRST_MARKS] if first else [*MARKS][FIRST_MARKS:]
    return Style(COLORS[index % len(COLORS)], marks[(index + index // len(COLORS)) % len(marks)])


def dark_style() -> str:
    """Return the CSS that replaces the colours of text, grid and background in charts on a dark page."""
    rules = "".join(  # selectors without an ancestor also match the copies of a mark in <use> elements
        f'[style*="{name}: {light}"]{{{name}:{dark}!important}}'
        for light, dark in DARK.items()
        for name in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme:dark){{{rules}}}"
