"""Format cells, marks and labels of a report as text, and choose colours, in the same way for all formats."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from krona.display_names import method_order
from krona.formatting import NOTHING
from krona.messages import plural, shorten
from krona.metrics.statistics import Interval
from krona.report.table import Cell, Row, Table
from krona.runs.suspicious_scores import SIGN

SEEDS = "the range of two seeds, or Student's t interval (95 %) of more seeds"  # explains intervals over seeds
BEST, TIED, SIGNS = "*", "~", {1: "↑", -1: "↓"}  # marks of cells (`legend`)
LABEL = re.compile(r"(\w+?)\^(\w)(?:_(\w+))?")  # the name, superscript and subscript of a label such as KronA^B_res
HTML_TAGS = ("<sup>{}</sup>", "<sub>{}</sub>")
SMALL = str.maketrans("Bres", "ᴮᵣₑₛ")
LONG = re.compile(r"-?\d+\.\d{7,}(e-?\d+)?")
WORDS = {("trainer.max_steps", "-1"): "no limit", ("data.train_rows", "null"): "all"}

COLORS = (  # each colour has a contrast of at least 3 on white and on black, the backgrounds of pages and terminals
    "#4269d0", "#c47a00", "#d6403a", "#268f80", "#7a3fb5", "#3ca951", "#d6478f", "#7a5c1e", "#5b7083", "#0f8bb5",
    "#7d7d00", "#a0522d",
)  # fmt: skip
MARKS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "*": "★"}  # matplotlib's markers
INK, SOFT, GRID, PAPER = "#1d1f23", "#5c626d", "#d9dbe0", "#fdfdfb"
DARK = {INK: "#e6e7ea", SOFT: "#a2a8b4", GRID: "#343943", PAPER: "#15171b"}  # the colours of charts on a dark page
BETTER, WORSE = COLORS[9], COLORS[2]


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


def dark_style() -> str:
    """Return the CSS that replaces the colours of text, grid and background in charts on a dark page."""
    rules = "".join(  # selectors without an ancestor also match the copies of a mark in <use> elements
        f'[style*="{name}: {light}"]{{{name}:{dark}!important}}'
        for light, dark in DARK.items()
        for name in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme:dark){{{rules}}}"


def number(value: float, digits: int = 2) -> str:
    """Format a number with the typographic minus.

    ``digits`` is the number of decimals or, if negative, the number of significant digits (-3 gives 0.0627).
    """
    shown = f"{value:.{-digits}g}" if digits < 0 else f"{value:,.0f}" if digits == 0 else f"{value:.{digits}f}"
    return shown.replace("-", "−") if float(shown.replace(",", "")) else shown.lstrip("-")


def setting_text(key: str, value: str) -> str:
    """Format the value of a setting. A long fraction is rounded to four significant digits."""
    if LONG.fullmatch(value):
        return f"{float(value):.4g}"
    return WORDS.get((key, value), "none" if value == "null" else shorten(value, 200))


def format_range(ends: Interval) -> str:
    """Return text such as ``74.10 to 76.00``."""
    return " to ".join(map(number, ends))


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
    """Return the lines below a mean: the spread over seeds, the number of seeds, and the interval over examples."""
    seeds = cell.shows_seeds and cell.by_seed and (cell.test_interval or cell.seed_interval)
    lines = [format_seeds(cell), plural(len(cell.by_seed), "seed") if seeds else ""]
    lines += ["–".join(number(end, 1) for end in cell.test_interval)] if cell.test_interval else []
    return [line for line in lines if line]


def format_seeds(cell: Cell) -> str:
    """Format the spread over seeds: the range of two scores (``60.10…62.30``), or half the interval (``±1.24``)."""
    if (ends := cell.seed_interval) is None:
        return ""
    digits = min(2, cell.digits)
    if len(cell.by_seed) == 2:
        return "…".join(number(end, digits) for end in ends)
    return f"±{number((ends[1] - ends[0]) / 2, digits)}"


def difference(cell: Cell) -> str:
    """Return the difference from the paper, such as ``Δ+0.31``, or "" if the numbers are not comparable."""
    if (gap := cell.difference) is None:
        return ""
    shown = f"{gap:+.{max(0, min(2, cell.digits))}f}"
    return f"Δ{shown.replace('-', '−') if float(shown) else shown.lstrip('+-')}"


def paper_lines(cell: Cell) -> list[str]:
    """Return lines such as ``paper 77.70`` and ``Δ+0.31``, or [] if the cell has no number of the paper."""
    if cell.paper is None:
        return []
    return [line for line in (f"paper {number(cell.paper, min(2, cell.digits))}", difference(cell)) if line]


def legend(tables: Sequence[Table], *, tied: str = TIED, notes: str = "the note") -> str:
    """Return sentences that explain the lines and marks in the cells of a report's tables, or "" for other tables.

    Args:
        tied: the mark of the cells that are not significantly worse than the best.
        notes: where the reader finds the warnings.
    """
    if not any(table.section for table in tables):
        return ""
    cells = [cell for table in tables for row in table.rows for cell in row.cells.values()]
    counts = {len(cell.by_seed) for cell in cells}
    several = any(", " in column.metric for table in tables for column in table.columns)
    references = {short_names(table.rows)[row.name] for table in tables for row in table.references.values()}
    has_tied, has_sign = any(cell.tied for cell in cells), any(cell.sign for cell in cells)
    better_or_worse = f"{SIGNS[1]} or {SIGNS[-1]} significantly better or worse than {' or '.join(sorted(references))}"
    sentences = (
        {
            "Mean over seeds": True,
            "with several metrics also over these (for one of them: --metric NAME)": several,
            "±: half of Student's t interval over seeds (95 %)": max(counts, default=0) > 2,
            "from…to: the range of two seeds": 2 in counts,
            "from–to: bootstrap over the scored set's examples (95 %)": any(cell.test_interval for cell in cells),
            "Δ: difference from the paper's number": any(cell.difference is not None for cell in cells),
        },
        {
            f"{BEST} best": any(cell.best for cell in cells),
            f"{tied} not significantly worse than the best": has_tied,
            better_or_worse: has_sign,
        },
        {
            "Significance: Student's t-test over examples and seeds (5 % level)": has_tied or has_sign,
            "for the best, Holm over all pairs of rows and all tasks of a table": has_tied,
            f"for {SIGNS[1]} and {SIGNS[-1]}, Holm over the pairs with this row on all tasks of a table": has_sign,
        },
        {f"{SIGN} a warning: see {notes}": any(cell.warned for cell in cells)},
    )
    texts = ("; ".join(part for part, is_needed in parts.items() if is_needed) for parts in sentences)
    return " ".join(f"{text}." for text in texts if text)


def short_names(rows: Sequence[Row]) -> dict[str, str]:
    """Map the names of rows to names that contain only the settings in which the rows of one label differ."""
    names = {}
    for row in rows:
        variants = [other.settings for other in rows if other.label == row.label]
        differing = [key for key in row.settings if len({settings.get(key) for settings in variants}) > 1]
        words = ", ".join(f"{key.rpartition('.')[2]}={setting_text(key, row.settings[key])}" for key in differing)
        names[row.name] = f"{row.label} ({words})" if words else row.label
    return names if len({*names.values()}) == len(names) else {name: name for name in names}
