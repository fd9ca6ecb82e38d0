"""Format cells, marks and labels as text, in the same way for all report formats."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from krona.messages import amount
from krona.metrics.statistics import Interval
from krona.report.table import Cell, Report, seed_interval
from krona.runs.constant_predictions import SIGN

NOTHING = "—"


def number(value: float, digits: int = 2) -> str:
    """Format a number with the typographic minus.

    Args:
        value: the number.
        digits: the number of decimals. A negative value is a number of significant digits, such as -3 for 0.0627.
    """
    shown = f"{value:.{-digits}g}" if digits < 0 else f"{value:,.0f}" if digits == 0 else f"{value:.{digits}f}"
    return shown.replace("-", "−") if float(shown.replace(",", "")) else shown.lstrip("-")


def format_range(ends: Interval) -> str:
    """Return text such as ``74.10 to 76.00``."""
    return " to ".join(map(number, ends))


def label_parts(label: str) -> tuple[str, str, str]:
    """Split a label such as ``KronA^B_res`` into its name, superscript and subscript: ``KronA``, ``B``, ``res``."""
    found = re.fullmatch(r"(\w+?)\^(\w)(?:_(\w+))?", label)
    return (found[1], found[2], found[3] or "") if found else (label, "", "")


def plain_label(label: str) -> str:
    """Return a label for text without markup, such as ``KronAᴮᵣₑₛ``."""
    name, above, below = label_parts(label)
    small = str.maketrans("Bres", "ᴮᵣₑₛ")
    return name + above.translate(small) + below.translate(small)


def cell_value(cell: Cell) -> str:
    """Format a cell's value. Without a value, return a dash."""
    return NOTHING if cell.value is None else number(cell.value, cell.digits)


def cell_mark(cell: Cell) -> str:
    """Return the marks of a cell.

    ``*`` marks the best, and ``~`` marks cells that are not significantly different from it. The sign of warnings is
    added if the cell has a warning.
    """
    return ("*" if cell.best else "~" if cell.tied else "") + SIGN * cell.warned


def cell_details(cell: Cell) -> list[str]:
    """Return the lines below a mean: the spread over seeds, the number of seeds, and the interval over examples."""
    seeds = amount(count_seeds(cell), "seed") if cell.by_seed and (cell.test_interval or cell.over_seeds) else ""
    examples = "" if cell.test_interval is None else "–".join(number(end, 1) for end in cell.test_interval)
    return [line for line in (format_seeds([*cell.by_seed.values()], cell.digits), seeds, examples) if line]


def format_seeds(scores: Sequence[float], digits: int = 2) -> str:
    """Format the spread of the scores over seeds.

    Two scores give their range, such as ``60.10…62.30``. More scores give half of Student's t interval, such as
    ``±1.24``. A single score gives an empty text.
    """
    if (ends := seed_interval(scores)) is None:
        return ""
    digits = min(2, digits)
    if len(scores) == 2:
        return "…".join(number(end, digits) for end in ends)
    return f"±{number((ends[1] - ends[0]) / 2, digits)}"


def explain_over_seeds(counts: Iterable[int]) -> str:
    """Return text that explains the intervals over seeds, such as ``the range of two; of more: Student's t, 95 %``.

    Args:
        counts: the number of seeds of each score. If no score has more than one seed, the text is empty.
    """
    found = {*counts}
    kinds = ["the range of two"] if 2 in found else []
    kinds += ["Student's t, 95 %"] if max(found, default=0) > 2 else []
    return "; of more: ".join(kinds)


def count_seeds(cell: Cell) -> int:
    """Return the number of seeds of a cell. For an average over tasks, return the smallest number of a task."""
    pairs = {(run.result.task, run.result.seed) for run in cell.runs}
    return min(Counter(task for task, _ in pairs).values(), default=0)


def difference(cell: Cell) -> str:
    """Return the difference from the paper, such as ``Δ+0.31``. It is empty if the numbers are not comparable."""
    if (gap := cell.difference) is None:
        return ""
    shown = f"{gap:+.{max(0, min(2, cell.digits))}f}"
    return f"Δ{shown.replace('-', '−') if float(shown) else shown.lstrip('+-')}"


def paper_lines(cell: Cell) -> list[str]:
    """Return the lines on the paper's number, such as ``paper 77.70`` and ``Δ+0.31``.

    The list is empty if the paper has no number. The difference is left out if it is not comparable.
    """
    if cell.paper is None:
        return []
    return [line for line in (f"paper {number(cell.paper, min(2, cell.digits))}", difference(cell)) if line]


def legend(report: Report) -> str:
    """Return sentences that explain the lines and marks of the report's cells."""
    cells = [cell for table in report.tables for row in table.rows for cell in row.cells.values()]
    counts = {len(cell.by_seed) for cell in cells}
    numbers = [
        ("Mean over seeds", True),
        ("±: half of Student's t interval over seeds (95 %)", max(counts, default=0) > 2),
        ("from…to: the range of two seeds", 2 in counts),
        ("from–to: bootstrap over the scored set's examples (95 %)", any(cell.test_interval for cell in cells)),
        ("Δ: difference from the paper's number", any(cell.difference is not None for cell in cells)),
    ]
    tied = (
        "~ not significantly different from it by a paired randomisation test on the task's own metric (10,000 swaps "
        "of examples, all seeds together, Holm over the column)"
    )
    marks = [("* best", any(cell.best for cell in cells)), (tied, any(cell.tied for cell in cells))]
    warned = [(f"{SIGN} a warning: see the note", any(cell.warned for cell in cells))]
    sentences = ("; ".join(words for words, needed in part if needed) for part in (numbers, marks, warned))
    return " ".join(f"{sentence}." for sentence in sentences if sentence)
