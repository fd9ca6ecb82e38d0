"""Colour and mark of each method, the same in every table, page, format and terminal."""

import zlib

from krona.paper import METHOD_LABELS
from krona.report.table import Row

LIGHT = (  # each has a contrast of 3 or more on white and on black: a terminal may have either
    "#4269d0", "#c47a00", "#d6403a", "#268f80", "#7a3fb5", "#3ca951", "#d6478f", "#7a5c1e", "#5b7083", "#0f8bb5",
    "#7d7d00", "#a0522d",
)  # fmt: skip
DARK = (
    "#8ea9ff", "#efb118", "#ff7f78", "#6cc5b0", "#c59bff", "#6fd583", "#ff8ab7", "#c9a876", "#a9bccd", "#63c8ee",
    "#cfcf55", "#e39b74",
)  # fmt: skip
SHAPES = 4  # of marks: circle, square, triangle, diamond
SLOTS = SHAPES * len(LIGHT)  # a colour with a mark each


def slot(method: str) -> int:
    """The method's place among `SLOTS`: by the order of the paper's and the shipped ones, else by its name."""
    known = tuple(METHOD_LABELS)
    if method in known:
        return known.index(method) % SLOTS
    left = max(1, SLOTS - len(known))
    return (len(known) + zlib.crc32(method.encode()) % left) % SLOTS


def mark(place: int) -> int:
    """Which of the `SHAPES` a slot has: the 13th has the first's colour and another mark."""
    return (place + place // len(LIGHT)) % SHAPES


def method_of(row: Row) -> str:
    """The method of a row's runs; its key where it has none."""
    return next((run.result.method for cell in row.cells.values() for run in cell.runs), row.key)


def css() -> str:
    """The custom properties ``--c0`` and on, which follow the reader's colour scheme."""
    light, dark = ("".join(f"--c{i}:{color};" for i, color in enumerate(colors)) for colors in (LIGHT, DARK))
    return f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
