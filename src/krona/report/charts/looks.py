"""The colour and the mark of each method. They are the same in all tables, charts and formats."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from krona.paper import METHOD_LABELS

LIGHT = (  # each has a contrast of at least 3 on white and on black, because a terminal can have either background
    "#4269d0", "#c47a00", "#d6403a", "#268f80", "#7a3fb5", "#3ca951", "#d6478f", "#7a5c1e", "#5b7083", "#0f8bb5",
    "#7d7d00", "#a0522d",
)  # fmt: skip
DARK = (
    "#8ea9ff", "#efb118", "#ff7f78", "#6cc5b0", "#c59bff", "#6fd583", "#ff8ab7", "#c9a876", "#a9bccd", "#63c8ee",
    "#cfcf55", "#e39b74",
)  # fmt: skip
MARKS = {"o": "●", "s": "■", "^": "▲", "D": "◆"}  # from matplotlib's name to the character in a legend
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", (0, (6, 3)), (0, (2, 2)), (0, (8, 3, 2, 3)))
SLOTS = len(MARKS) * len(LIGHT)


@dataclass(frozen=True)
class Look:
    """The style of a row: its colour on light and on dark pages, its mark, and the dashes of its line."""

    light: str
    dark: str
    mark: str = "o"
    dash: str | tuple[int, tuple[int, ...]] = "-"

    @property
    def sign(self) -> str:
        """The mark as a character for a legend."""
        return MARKS.get(self.mark, "×")


INK, SOFT = Look("#1d1f23", "#e6e7ea"), Look("#5c626d", "#a2a8b4")
GRID, PAPER = Look("#d9dbe0", "#343943"), Look("#fdfdfb", "#15171b")


def slot(method: str) -> int:
    """Return a number that determines the colour and mark of a method.

    For a shipped method, it is the index in the list of methods. For another method, it is computed from the name.
    """
    known = tuple(METHOD_LABELS)
    if method in known:
        return known.index(method) % SLOTS
    left = max(1, SLOTS - len(known))
    return (len(known) + zlib.crc32(method.encode()) % left) % SLOTS


def method_look(method: str, number: int = 0, count: int = 1) -> Look:
    """Return the style of row ``number`` (from 0) of the ``count`` rows of a method.

    The rows of a method have different shades of the method's colour.
    """
    place = slot(method)
    shade = number / (count - 1) - 0.5 if count > 1 else 0.0
    towards = (INK, PAPER)[shade > 0]
    color = place % len(LIGHT)
    marks = tuple(MARKS)
    return Look(
        mix((LIGHT[color], towards.light), abs(shade)),
        mix((DARK[color], towards.dark), abs(shade)),
        marks[(place + place // len(LIGHT) + number) % len(marks)],
        DASHES[(place // len(MARKS) + number) % len(DASHES)],
    )


def row_looks(methods: Sequence[str]) -> list[Look]:
    """Return the style of each row of a table, given the methods of the rows."""
    return [method_look(one, methods[:i].count(one), methods.count(one)) for i, one in enumerate(methods)]


def mix(colors: Sequence[str], share: float) -> str:
    """Return the color at the position ``share`` (from 0 to 1) of a gradient through the given colors."""
    place = share * (len(colors) - 1)
    first = min(int(place), len(colors) - 2)
    ends = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors[first : first + 2]]
    mixed = [round(a + (b - a) * (place - first)) for a, b in zip(*ends, strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def dark_style(looks: Iterable[Look] = ()) -> str:
    """Return the CSS that replaces the light colors of charts by dark ones on a dark page.

    The CSS includes the colors of all methods and the colors of ``looks``. The elements of a chart contain the light
    colors, so that programs without CSS can show the chart.
    """
    pairs = dict(zip(LIGHT, DARK, strict=True)) | {look.light: look.dark for look in (INK, SOFT, GRID, PAPER, *looks)}
    rules = "".join(
        f'.chart [style*="{name}: {light}"]{{{name}:{dark}!important}}'
        for light, dark in pairs.items()
        for name in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme:dark){{{rules}}}"
