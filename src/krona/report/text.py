"""Cells, marks, notes and labels as text, the same in every format."""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from krona.messages import amount, first_few
from krona.metrics.statistics import Interval
from krona.paper import task_label
from krona.report.selection import StoredRun
from krona.report.table import Cell, Column, Report, Table
from krona.runs.constant_predictions import SIGN

NOTHING = "—"
MOST_REMARKS, MOST_NAMES = 20, 4
STATUSES = ("failed", "interrupted", "running")


def number(value: float, digits: int = 2) -> str:
    """``digits`` after the point; below 0, so many that count (0.0627, 0.071, 100). With the typographic minus."""
    shown = f"{value:.{-digits}g}" if digits < 0 else f"{value:,.0f}" if digits == 0 else f"{value:.{digits}f}"
    return shown.replace("-", "−") if float(shown.replace(",", "")) else shown.lstrip("-")


def legend(report: Report, *, paper: str) -> str:
    """How a cell is read. ``paper``: how the paper's number is shown; left out where none is."""
    cells = [cell for table in report.tables for row in table.rows for cell in row.cells.values()]
    numbers = [
        ("Mean over seeds", True),
        ("± Student's t over them (95 %)", any(spread(cell).startswith("±") for cell in cells)),
        ("from…to: the range of two seeds", any(cell.seed_range is not None for cell in cells)),
        ("from–to: bootstrap over the scored set's examples (95 %)", any(cell.test_interval for cell in cells)),
        (paper, any(cell.difference is not None for cell in cells)),
    ]
    tied = (
        "~ not significantly different from it by a paired randomisation test on the task's own metric (10,000 swaps "
        "of examples, all seeds together, Holm over the column)"
    )
    marks = [("* best", any(cell.best for cell in cells)), (tied, any(cell.tied for cell in cells))]
    warned = [(f"{SIGN} a warning: see the note", any(cell.warned for cell in cells))]
    sentences = ("; ".join(words for words, there in part if there) for part in (numbers, marks, warned))
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def value(cell: Cell) -> str:
    """The mean, or a dash."""
    return NOTHING if cell.value is None else number(cell.value, cell.digits)


def label_parts(label: str) -> tuple[str, str, str]:
    """``KronA``, ``B`` and ``res`` of ``KronA^B_res``: a name, its superscript and its subscript."""
    found = re.fullmatch(r"(\w+?)\^(\w)(?:_(\w+))?", label)
    return (found[1], found[2], found[3] or "") if found else (label, "", "")


def plain_label(label: str) -> str:
    """Return a label for places without markup: ``KronAᴮᵣₑₛ``."""
    name, above, below = label_parts(label)
    small = str.maketrans("Bres", "ᴮᵣₑₛ")
    return name + above.translate(small) + below.translate(small)


def format_range(ends: Interval) -> str:
    """Return ``74.10 to 76.00``."""
    return " to ".join(map(number, ends))


def paper(cell: Cell) -> str:
    """The paper's number; empty where there is none."""
    return "" if cell.paper is None else number(cell.paper, min(2, cell.digits))


def mark(cell: Cell) -> str:
    """``*`` best, ``~`` not told from it, and ``!`` for a warning."""
    return ("*" if cell.best else "~" if cell.tied else "") + warning(cell)


def warning(cell: Cell) -> str:
    """``!`` beside a score that may mean nothing."""
    return SIGN if cell.warned else ""


def cell_remarks(cell: Cell) -> list[str]:
    """What is to be known of one score, a sentence each, with the seeds where it is not of all."""
    found = []
    for remark, seeds in cell.remarks.items():
        some = "" if seeds == cell.seeds else f" (seed {', '.join(map(str, seeds))})"
        found.append(f"{remark.text}{some}.")
    return found


def remarks(table: Table, shown: Column | None = None) -> list[str]:
    """What is to be known of its scores, warnings first and with their sign. ``shown``: of this column alone."""
    rows_of: dict[tuple[str, bool, str], dict[str, None]] = defaultdict(dict)
    for row in table.rows:
        for column in table.columns:
            if column.kind == "average" or (shown and shown.kind != "average" and shown != column):
                continue  # an average has those of its tasks
            cell = row.cells.get(column.key, Cell())
            for remark, text in zip(cell.remarks, cell_remarks(cell), strict=True):
                task = column.key.rsplit(" ", 1)[0] if column.kind == "beside" else column.key
                rows_of[task_label(task), remark.warns, text][row.name] = None
    found = []
    for (task, warns, text), names in rows_of.items():
        who = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} rows"
        found.append((not warns, f"{f'{SIGN} ' if warns else ''}{who} on {task}: {text}"))
    return first_few([line for _, line in sorted(found, key=lambda one: one[0])], MOST_REMARKS)


def spread(cell: Cell) -> str:
    """``±1.24``; of two seeds ``60.10…62.30``; empty for a single one."""
    if cell.seed_range is not None:
        return "…".join(number(end, min(2, cell.digits)) for end in cell.seed_range)
    return "" if cell.half_width is None else f"±{number(cell.half_width, min(2, cell.digits))}"


def over_seeds(cells: Iterable[Cell]) -> list[str]:
    """``the range of two; of more: Student's t, 95 %``: what the cells show of their seeds, if some do."""
    shown = list(cells)
    kinds = ["the range of two"] if any(cell.seed_range for cell in shown) else []
    kinds += ["Student's t, 95 %"] if any(cell.interval and not cell.seed_range for cell in shown) else []
    return ["; of more: ".join(kinds)] if kinds else []


def seed_count(cell: Cell) -> str:
    """``3 seeds``, of an average those of the task with the fewest; empty for a number that is no score."""
    if not cell.test_interval and not spread(cell):
        return ""
    return amount(fewest_seeds(cell), "seed")


def fewest_seeds(cell: Cell) -> int:
    """The number of seeds; of an average, that of the task with the fewest."""
    pairs = {(run.result.task, run.result.seed) for run in cell.runs}
    return min(Counter(task for task, _ in pairs).values(), default=0)


def test_range(cell: Cell) -> str:
    """``69.1–83.5``, empty where no predictions are stored."""
    return "" if cell.test_interval is None else "–".join(number(end, 1) for end in cell.test_interval)


def difference(cell: Cell) -> str:
    """``+0.31`` with the typographic minus, empty where it means nothing."""
    if (gap := cell.difference) is None:
        return ""
    shown = f"{gap:+.{max(0, min(2, cell.digits))}f}"
    return shown.replace("-", "−") if float(shown) else shown.lstrip("+-")


def asides(table: Table) -> list[tuple[str, str]]:
    """What the table does not show, each with the command that makes or shows it; rows that lack the same share one."""
    labels = {column.key: column.label for column in table.columns}
    lacking: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    failures = []
    for row in table.rows:
        cells = {key: row.cells[key] for key in labels if key in row.cells and row.cells[key].command}
        absent = tuple(key for key, cell in cells.items() if cell.missing in ("no run", "not measured"))
        if absent:
            lacking[absent].append((row.name, cells[absent[0]].command or ""))
        others = [(key, cell) for key, cell in cells.items() if key not in absent]
        failures += [(f"{row.name} on {labels[key]}: {cell.missing}.", cell.command or "") for key, cell in others]
    found = []
    for absent, rows in lacking.items():
        command, left = _joined([command for _, command in rows], absent)
        and_more = f" (and {amount(left, 'more command')} like this)" if left else ""
        names, columns = ", ".join(name for name, _ in rows), ", ".join(labels[key] for key in absent)
        found.append((f"Missing: {names} on {columns}{and_more}.", command))
    return table.asides + found + failures


def _joined(commands: list[str], absent: tuple[str, ...]) -> tuple[str, int]:
    """One command for several rows where they differ in one word only, else the first of them and how many more."""
    one, all_of_them = f"task={absent[0]}", f"task={','.join(absent)}"
    words = [[all_of_them if word == one else word for word in shlex.split(command)] for command in commands]
    first = words[0]
    if any(len(each) != len(first) for each in words):
        return shlex.join(first), len(words) - 1
    places = [i for i, column in enumerate(zip(*words, strict=True)) if len(set(column)) > 1]
    if len(places) == 1 and all("=" in each[places[0]] for each in words):
        (place,) = places
        first[place] += "".join(f",{each[place].partition('=')[2]}" for each in words[1:])
        places = []
    return shlex.join(first), len(words) - 1 if places else 0


def unfinished_lines(report: Report) -> list[str]:
    """Failed, interrupted and running runs, each with how far it is and, if it failed, why."""
    lines = []
    for run in sorted(report.unfinished, key=lambda run: STATUSES.index(run.status)):
        why = f": {run.result.error}" if run.result.error else ""
        lines.append(f"{run.result.run_id}: {run.status}, {run.result.reached}{why}")
    return lines


def unfinished_counts(runs: Sequence[StoredRun]) -> str:
    """``1 failed, 2 running``; empty where all have finished."""
    counts = Counter(run.status for run in runs if run.status != "done")
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
