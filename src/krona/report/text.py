"""Format cells, marks, labels and the first sentences of a report as text, in the same way for all formats."""

import re
from collections.abc import Callable, Mapping, Sequence

from krona.formatting import NOTHING
from krona.labels import task_label
from krona.messages import amount, join_names, shorten
from krona.metrics.statistics import Interval
from krona.report.table import Cell, Column, Report, Row, Table
from krona.runs.suspicious_scores import MAX_INVALID_SHARE, SIGN

SEEDS = "the range of two seeds, or Student's t interval (95 %) of more seeds"  # explains intervals over seeds
BEST, TIED, SIGNS = "*", "~", {1: "↑", -1: "↓"}  # marks of cells (`legend`)
FEW_SEEDS = {1: "One seed", 2: "Two seeds"}  # too few for statements about methods
MAX_NAMED = 4  # longer lists of rows, methods or tasks are shortened
LONG = re.compile(r"-?\d+\.\d{7,}(e-?\d+)?")
WORDS = {("trainer.max_steps", "-1"): "no limit", ("data.train_rows", "null"): "all"}
COSTS = {"params": ("% of the parameters", -3), "time": ("s of training", 0)}  # unit, ``digits`` of `number`


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


def label_parts(label: str) -> tuple[str, str, str]:
    """Split a label such as ``KronA^B_res`` into its name, superscript and subscript: ``KronA``, ``B``, ``res``."""
    found = re.fullmatch(r"(\w+?)\^(\w)(?:_(\w+))?", label)
    return (found[1], found[2], found[3] or "") if found else (label, "", "")


def tagged_label(label: str, escape: Callable[[str], str]) -> str:
    """Return a label with its superscript and subscript as HTML, which Markdown accepts too."""
    name, above, below = map(escape, label_parts(label))
    return name + (f"<sup>{above}</sup>" if above else "") + (f"<sub>{below}</sub>" if below else "")


def tagged_sentence(line: str, escape: Callable[[str], str]) -> str:
    """Escape a sentence, and write the labels of methods in it with superscripts and subscripts."""
    parts = re.split(r"(\w+\^\w(?:_\w+)?)", line)  # labels are at odd positions
    return "".join(tagged_label(part, escape) if i % 2 else escape(part) for i, part in enumerate(parts))


def plain_label(label: str) -> str:
    """Return a label for text without markup, such as ``KronAᴮᵣₑₛ``."""
    name, above, below = label_parts(label)
    small = str.maketrans("Bres", "ᴮᵣₑₛ")
    return name + above.translate(small) + below.translate(small)


def cell_value(cell: Cell) -> str:
    """Format a cell's value. Without a value, return a dash."""
    return NOTHING if cell.value is None else number(cell.value, cell.digits)


def cell_mark(cell: Cell) -> str:
    """Return the marks of a cell: best or not worse, different from the reference, and `SIGN` for a warning."""
    return (BEST if cell.best else TIED if cell.tied else "") + SIGNS.get(cell.sign, "") + SIGN * cell.warned


def cell_details(cell: Cell) -> list[str]:
    """Return the lines below a mean: the spread over seeds, the number of seeds, and the interval over examples."""
    seeds = ""
    if cell.by_seed and cell.runs is not None and (cell.test_interval or cell.seed_interval):
        # The tasks of an average may have different numbers of seeds. The smallest number is shown.
        seeds = amount(int(cell.runs.groupby("task").seed.nunique().min()), "seed")
    examples = "" if cell.test_interval is None else "–".join(number(end, 1) for end in cell.test_interval)
    return [line for line in (format_seeds(cell), seeds, examples) if line]


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


def legend(tables: Sequence[Table]) -> str:
    """Return sentences that explain the lines and marks in the cells of the tables."""
    cells = [cell for table in tables for row in table.rows for cell in row.cells.values()]
    counts = {len(cell.by_seed) for cell in cells}
    numbers = [
        ("Mean over seeds", True),
        ("±: half of Student's t interval over seeds (95 %)", max(counts, default=0) > 2),
        ("from…to: the range of two seeds", 2 in counts),
        ("from–to: bootstrap over the scored set's examples (95 %)", any(cell.test_interval for cell in cells)),
        ("Δ: difference from the paper's number", any(cell.difference is not None for cell in cells)),
    ]
    tied = (
        f"{TIED} not significantly worse than the best by a t-test over examples and seeds (5 % level, Holm over all "
        "pairs of rows and all tasks of a table)"
    )
    names = {row.label for table in tables for row in table.references.values()}
    signs = (
        f"{SIGNS[1]} or {SIGNS[-1]} significantly better or worse than {' or '.join(sorted(names))} by the same test "
        "(5 % level, Holm over the pairs with this row on all tasks of a table)"
    )
    marks = [
        (f"{BEST} best", any(cell.best for cell in cells)), (tied, any(cell.tied for cell in cells)),
        (signs, any(cell.sign for cell in cells)),
    ]  # fmt: skip
    warned = [(f"{SIGN} a warning: see the note", any(cell.warned for cell in cells))]
    sentences = ("; ".join(words for words, needed in part if needed) for part in (numbers, marks, warned))
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def short_names(rows: Sequence[Row]) -> dict[str, str]:
    """Map the names of rows to names that contain only the settings in which the rows of one label differ."""
    found = {}
    for row in rows:
        same = [one for one in rows if one.label == row.label]
        settings = {
            key: value for key, value in row.settings.items() if len({one.settings.get(key) for one in same}) > 1
        }
        words = ", ".join(f"{key.rpartition('.')[2]}={setting_text(key, value)}" for key, value in settings.items())
        found[row.name] = f"{row.label} ({words})" if words else row.label
    return found if len({*found.values()}) == len(found) else {name: name for name in found}


def describe_subject(tables: Sequence[Table]) -> str:
    """Return the methods and tasks of a report, such as ``9 methods on 8 tasks`` or ``KronA in 7 settings on RTE``."""
    tables = [table for table in tables if table.section is not None]
    rows = [row for table in tables for row in table.rows]
    columns = [column for table in tables for column in table.task_columns]
    labels = list(dict.fromkeys(row.label for row in rows))
    tasks = list(dict.fromkeys(task_label(column.key) for column in columns))
    if not labels or not tasks:
        return ""
    methods = join_names(labels) if len(labels) <= MAX_NAMED else f"{len(labels)} methods"
    settings = {row.differs for row in rows}
    methods += f" in {amount(len(settings), 'setting')}" if len(labels) == 1 and len(settings) > 1 else ""
    return f"{methods} on {join_names(tasks) if len(tasks) <= MAX_NAMED else amount(len(tasks), 'task')}"


def summarize(report: Report) -> list[str]:
    """Return one sentence for each table in which a cell is marked as best."""
    found = [(table, _summarize_table(table)) for table in report.tables]
    found = [(table, sentence) for table, sentence in found if sentence]
    return [f"{table.heading}: {sentence}" if len(found) > 1 else sentence for table, sentence in found]


def _summarize_table(table: Table) -> str:
    """Return a sentence on the mean over tasks or, if no row has a score on every task, on the single tasks."""
    marked = [column for column in table.score_columns if any(row.cell(column.key).best for row in table.rows)]
    if len(marked) < 2 or marked[0].kind == "average":
        return _summarize_column(table, marked[0]) if marked else ""
    led: dict[str, list[str]] = {}
    for column in marked:
        row = _leader(table, column)
        subject = "No row leads" if row is None else f"{_leader_name(table, row, column)}{_cost_words([row])} leads"
        led.setdefault(subject, []).append(column.label)
    return f"{'; '.join(f'{subject} on {join_names(labels)}' for subject, labels in led.items())}."


def _leader_name(table: Table, row: Row, column: Column) -> str:
    """Return the name of a row or, if there are too few seeds for a statement about methods, ``This run of NAME``."""
    seeds = _tested_seeds(table, column)
    return row.name if seeds not in FEW_SEEDS else f"{'This run' if seeds == 1 else 'These runs'} of {row.name}"


def _tested_seeds(table: Table, column: Column) -> int:
    """Return the smallest number of seeds of a tested cell in a column."""
    cells = [row.cell(column.key) for row in table.rows]
    return min((cell.tested_seeds for cell in cells if cell.best or cell.p is not None), default=0)


def _leader(table: Table, column: Column) -> Row | None:
    """Return the row that is significantly better than all other compared rows, or None.

    The score of this row must not have a warning.
    """
    cells = [row.cell(column.key) for row in table.rows]
    best = [row for row in table.rows if row.cell(column.key).best]
    worse = [cell.p is not None and not cell.tied for cell in cells if cell.compared and not cell.best]
    return best[0] if len(best) == 1 and worse and all(worse) and not best[0].cell(column.key).warned else None


def _summarize_column(table: Table, column: Column) -> str:
    """Return sentences on a column of scores: the row that leads or why no row leads, and the reference row."""
    subject = column.label if column.kind == "task" else f"the {column.label.replace('Mean', 'mean')}"
    subject += f" ({column.details[-1]})" if column.examples else ""
    best = [row for row in table.rows if row.cell(column.key).best]
    tied = [row for row in table.rows if row.cell(column.key).tied]
    tied.sort(key=lambda row: -(row.cell(column.key).value or 0.0))
    after = _compare_with_reference(table, column) + _failures(table, column)
    if leader := _leader(table, column):
        name, cell = _leader_name(table, leader, column), leader.cell(column.key)
        lead = f"{name}{_cost_words(best)} leads on {subject} with {cell_value(cell)}"
        others = "others" if all(row.cell(column.key).compared for row in table.rows) else "other compared rows"
        few = FEW_SEEDS.get(_tested_seeds(table, column))
        few_seeds = f" {few} cannot show which method is better." if few else ""
        return f"{lead}; all {others} are significantly worse.{after}{few_seeds}"
    first = next(row for row in best if row.cell(column.key).p is None)
    equal = [row for row in best if row is not first and row.cell(column.key).p is not None]
    names = short_names([*best, *tied, *(one for one in [table.references.get(column.key)] if one)])
    rest = [_with_score(row, column, names) for row in [*equal, *tied]]
    if len(rest) == 1:
        words = f"{join_names([_with_score(first, column, names), *rest])} are not significantly different"
    elif rest:
        named = rest[: MAX_NAMED - 1]
        named += [f"{len(rest) - len(named)} more"] if len(rest) > len(named) else []
        words = f"{join_names(named)} are not significantly different from {_with_score(first, column, names)}"
    else:
        warned = ", with a warning" if any(row.cell(column.key).warned for row in best) else ""
        scores = "has the highest score" if len(best) == 1 else "have the same highest score"
        words = f"{join_names([_with_score(row, column, names) for row in best])} {scores}{warned}"
    costs = _cost_words([first, *equal, *tied]) if rest else ""
    return f"No row leads on {subject}: {words}{costs}.{_tests(table, column)}{after}"


def _with_score(row: Row, column: Column, names: Mapping[str, str]) -> str:
    cell = row.cell(column.key)
    return f"{names[row.name]} {cell_value(cell)}{SIGN * cell.warned}"


def _tests(table: Table, column: Column) -> str:
    """Return a sentence on the rows that are significantly worse than the best, and on those that were not tested."""
    cells = [row.cell(column.key) for row in table.rows]
    others = [cell for cell in cells if cell.compared and not cell.best]
    untested = sum(cell.p is None for cell in others)
    worse = sum(not cell.tied for cell in others) - untested
    words = [f"{worse} of the other {amount(len(others), 'row')} {'is' if worse == 1 else 'are'} significantly worse"]
    words = words if worse else []
    if untested == len(others) > 0:
        words = ["The other rows could not be tested"]
    elif untested:
        words.append(f"{untested} {'' if worse else f'of the other {len(others)} rows '}could not be tested")
    return f" {join_names(words)}." if words else ""


def _compare_with_reference(table: Table, column: Column) -> str:
    """Return a sentence on the rows that differ from the reference row, if the other pairs are tested too."""
    reference = table.references.get(column.key)
    tested = sum(key == column.key for *_, key in table.p_reference)
    if reference is None or tested == sum(key == column.key for *_, key in table.differences):
        return ""
    named = [
        f"{join_names(names) if len(names) <= MAX_NAMED else amount(len(names), 'row')} "
        f"{'is' if len(names) == 1 else 'are'} significantly {word}"
        for sign, word in ((1, "better"), (-1, "worse"))
        if (names := [row.name for row in table.rows if row.cell(column.key).sign == sign])
    ]
    found = join_names(named) if named else f"none of the {amount(tested, 'tested row')} is significantly different"
    shown = reference.label if [row.label for row in table.rows].count(reference.label) == 1 else reference.name
    if any(row is reference and row.cell(column.key).best for row in table.rows):
        shown = reference.label  # the sentence before names the settings of the best row
    return f" Compared with {shown}, {found}."


def _failures(table: Table, column: Column) -> str:
    """Return sentences on the best rows with constant or invalid predictions, and on the rows that failed."""
    found = ""
    for row, cell in ((row, row.cell(column.key)) for row in table.rows):
        reason = next((message.text for message in cell.messages if message.invalid or message.unlearned), None)
        if cell.best and reason:
            found += f" {row.name}: {reason.partition('. ')[0]}."
    failed = [row.name for row in table.rows if row.cell(column.key).failed and not row.cell(column.key).best]
    share = f"more than {MAX_INVALID_SHARE:.0%} of the predictions are invalid".replace("%", " %")
    return found + (f" {join_names(failed)} failed: {share}." if failed else "")


def _cost_words(rows: Sequence[Row]) -> str:
    """Return the costs of rows as text, such as `` (0.071 % of the parameters, 70 to 74 s of training)``."""
    words = []
    for key, (unit, digits) in COSTS.items():
        values = sorted(cell.value for row in rows if (cell := row.cell(key)).value is not None)
        shown = [number(value, digits) for value in values]
        words += [f"{' to '.join(dict.fromkeys([shown[0], shown[-1]]))} {unit}"] if shown else []
    return f" ({', '.join(words)})" if words else ""
