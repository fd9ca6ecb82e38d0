"""Format cells, marks and labels of a report as text, and choose colours, in the same way for all formats."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf

from krona.display_names import method_order
from krona.formatting import NOTHING
from krona.messages import plural, shorten
from krona.report.table import Cell, Row
from krona.runs.suspicious_scores import SIGN

BEST, TIED, SIGNS = "*", "~", {1: "↑", -1: "↓"}  # marks of cells
LABEL = re.compile(r"(\w+?)\^(\w)(?:_(\w+))?")  # the name, superscript and subscript of a label such as KronA^B_res
HTML_TAGS = ("<sup>{}</sup>", "<sub>{}</sub>")
SMALL = str.maketrans("Bres", "ᴮᵣₑₛ")
LONG = re.compile(r"-?\d+\.\d{7,}(e-?\d+)?")
WORDS = {("trainer.max_steps", "-1"): "no limit", ("data.train_rows", "null"): "all"}

COLORS = (  # each colour has a contrast of at least 3 on white and on black, the backgrounds of pages and terminals
    "#4269d0", "#c47a00", "#d6403a", "#268f80", "#7a3fb5", "#3ca951", "#d6478f", "#7a5c1e", "#5b7083", "#0f8bb5",
    "#7d7d00", "#a0522d",
)  # fmt: skip
PAGE = {"ink": "#1d1f23", "soft": "#5c626d", "line": "#d9dbe0", "paper": "#fdfdfb"}  # CSS variables of light pages
MARKS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "*": "★"}  # matplotlib's markers


@dataclass(frozen=True)
class Style:
    """The style of a method. ``mark`` is matplotlib's marker, and ``sign`` the same marker as a character."""

    color: str
    mark: str
    sign: str


def method_style(method: str, *, among: Iterable[str] = ()) -> Style:
    """Return the style of a method. ``among`` are all methods of the report, each of which has its own style."""
    place = sorted({method, *among}, key=method_order).index(method)
    mark, sign = [*MARKS.items()][(place + place // len(COLORS)) % len(MARKS)]
    return Style(COLORS[place % len(COLORS)], mark, sign)


def number(value: float, digits: int = 2) -> str:
    """Format a number with the typographic minus.

    ``digits`` is the number of decimals or, if negative, the number of significant digits (-3 gives 0.0627).
    """
    shown = f"{value:.{-digits}g}" if digits < 0 else f"{value:,.0f}" if digits == 0 else f"{value:.{digits}f}"
    return shown.replace("-", "−") if float(shown.replace(",", "")) else shown.lstrip("-")


def signed(value: float, digits: int = 2) -> str:
    """Format a number with a sign, which is the typographic minus for negative numbers."""
    return f"{value:+.{digits}f}".replace("-", "−")


def parse_size(value: str) -> float:
    """Return a number, or the number of rows of a shape such as ``12x64``. For other texts, return infinity."""
    try:
        return float(value.split("x")[0])
    except ValueError:
        return inf


def setting_text(key: str, value: str) -> str:
    """Format the value of a setting. A long fraction is rounded to four significant digits."""
    if LONG.fullmatch(value):
        return f"{float(value):.4g}"
    return WORDS.get((key, value), "none" if value == "null" else shorten(value, 200))


def tag_labels(line: str, escape: Callable[[str], str], tags: tuple[str, str] = HTML_TAGS) -> str:
    """Escape a text, and write the labels of methods in it, such as ``KronA^B_res``, with superscripts and subscripts.

    ``tags`` are the patterns of a superscript and of a subscript.
    """
    tagged, end = "", 0
    for match in LABEL.finditer(line):
        name, above, below = match.groups("")
        tagged += escape(line[end : match.start()] + name) + tags[0].format(escape(above))
        tagged += tags[1].format(escape(below)) if below else ""
        end = match.end()
    return tagged + escape(line[end:])


def plain_label(line: str) -> str:
    """Return a text with labels without markup, such as ``KronAᴮᵣₑₛ``."""
    return LABEL.sub(lambda match: match[1] + f"{match[2]}{match[3] or ''}".translate(SMALL), line)


def cell_value(cell: Cell) -> str:
    """Format a cell's value. Without a value, return a dash."""
    return NOTHING if cell.value is None else number(cell.value, cell.digits)


def cell_mark(cell: Cell) -> str:
    """Return the marks of a cell: best or not worse, different from the reference, and `SIGN` for a warning."""
    return (BEST if cell.best else TIED if cell.tied else "") + SIGNS.get(cell.sign, "") + SIGN * cell.warned


def cell_details(cell: Cell) -> list[str]:
    """Return the lines below a mean: the spread over seeds, their number, the interval over examples, the paper's."""
    digits = min(2, cell.digits)
    lines = [format_seeds(cell)]
    if cell.shows_seeds and cell.by_seed and (cell.test_interval or cell.seed_interval):
        lines.append(plural(len(cell.by_seed), "seed"))
    if cell.test_interval:
        lines.append("–".join(number(end, 1) for end in cell.test_interval))
    if cell.paper is not None:
        lines.append(f"paper {number(cell.paper, digits)}")
    if cell.difference is not None:
        lines.append(f"Δ{signed(cell.difference, max(0, digits))}")
    return [line for line in lines if line]


def format_seeds(cell: Cell) -> str:
    """Format the spread over seeds: the range of two scores (``60.10…62.30``), or half the interval (``±1.24``)."""
    if (ends := cell.seed_interval) is None:
        return ""
    digits = min(2, cell.digits)
    if len(cell.by_seed) == 2:
        return "…".join(number(end, digits) for end in ends)
    return f"±{number((ends[1] - ends[0]) / 2, digits)}"


def short_names(rows: Sequence[Row]) -> dict[str, str]:
    """Map the names of rows to names that contain only the settings in which the rows of one label differ."""
    names = {}
    for row in rows:
        variants = [other.settings for other in rows if other.label == row.label]
        differing = [key for key in row.settings if len({settings.get(key) for settings in variants}) > 1]
        words = ", ".join(f"{key.rpartition('.')[2]}={setting_text(key, row.settings[key])}" for key in differing)
        names[row.name] = f"{row.label} ({words})" if words else row.label
    return names if len({*names.values()}) == len(names) else {name: name for name in names}
