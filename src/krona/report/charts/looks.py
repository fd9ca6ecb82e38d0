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
    """Return the number of a method's colour and mark: its place in the list of methods, or a hash of its name."""
    known = tuple(METHOD_LABELS)
    if method in known:
        return known.index(method)
    return len(known) + zlib.crc32(method.encode()) % (SLOTS - len(known))


def method_look(method: str, number: int = 0, count: int = 1) -> Look:
    """Return the style of row ``number`` (from 0) of a method's ``count`` rows, which have shades of its colour."""
    place = slot(method)
    shade = number / (count - 1) - 0.5 if count > 1 else 0.0
    towards = (INK, PAPER)[shade > 0]
    color = place % len(LIGHT)
    marks = tuple(MARKS)
    return Look(
        mix(LIGHT[color], towards.light, abs(shade)),
        mix(DARK[color], towards.dark, abs(shade)),
        marks[(place + place // len(LIGHT) + number) % len(marks)],
        DASHES[(place // len(MARKS) + number) % len(DASHES)],
    )


def row_looks(methods: Sequence[str]) -> list[Look]:
    """Return the style of each row of a table, given the methods of the rows."""
    return [method_look(one, methods[:i].count(one), methods.count(one)) for i, one in enumerate(methods)]


def mix(one: str, two: str, share: float) -> str:
    """Return the color at the position ``share`` (from 0 to 1) of a gradient between two colors."""
    pairs = [(int(one[i : i + 2], 16), int(two[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def dark_style(looks: Iterable[Look] = ()) -> str:
    """Return the CSS that replaces the light colors of all methods and of ``looks`` by dark ones on a dark page.

    The elements of a chart contain the light colors, so that programs without CSS can show the chart.
    """
    pairs = dict(zip(LIGHT, DARK, strict=True)) | {look.light: look.dark for look in (INK, SOFT, GRID, PAPER, *looks)}
    rules = "".join(  # without an ancestor, so that they apply to the copies of a mark that <use> makes
        f'[style*="{name}: {light}"]{{{name}:{dark}!important}}'
        for light, dark in pairs.items()
        for name in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme:dark){{{rules}}}"
