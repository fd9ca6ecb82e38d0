"""Build the first sentences of a report: which row is better, at which cost, and whether it is certain."""

from collections.abc import Mapping, Sequence

from krona.messages import join_names, plural, shorten
from krona.report.costs import find_quantity, is_quiet
from krona.report.pairs import ALPHA, format_interval, signed
from krona.report.table import BestOfK, Column, Report, Row, Table
from krona.report.text import cell_value, number, short_names
from krona.runs.suspicious_scores import MAX_INVALID_SHARE, SIGN

FEW_SEEDS = {1: "One seed", 2: "Two seeds"}  # too few for statements about methods
# Maps each cost to its unit and the argument ``digits`` of `number`.
COSTS = {"params": ("% of the parameters", -3), "time": ("s of training", 0), "cpu": ("CPU s of training", 0)}
TRIALS = 6  # the number of trials in the sentence about a grid, if the grid has as many settings
MAX_NAMED = 3  # a sentence names at most this number of rows
MAX_NAME = 48  # longer names are shortened
MAX_TABLES = 4  # a report begins with the sentences of at most this number of tables
MANY_ROWS = 8  # with more rows, the sentence says how many there are
MAX_LENGTH = 280  # two lines of the HTML page


def summarize(report: Report) -> list[str]:
    """Return one text of at most `MAX_LENGTH` characters for each table in which a cell is marked as best."""
    marked = [table for table in report.tables if any(cell.best for row in table.rows for cell in row.cells.values())]
    starts = [f"{table.heading}: " if len(marked) > 1 else "" for table in marked]
    texts = [_summarize(table, MAX_LENGTH - len(start)) for start, table in zip(starts, marked, strict=True)]
    return [f"{start}{text}" for start, text in zip(starts, texts, strict=True) if text][:MAX_TABLES]


def _summarize(table: Table, room: int) -> str:
    """Return a text about the mean over tasks or, if no row has a score on every task, about the single tasks.

    Only its first sentence may have more than ``room`` characters.
    """
    if table.best_of_k and len(table.best_of_k[0].pairs):
        first, *more = map(_summarize_grid, table.best_of_k)
        return _fit(room, first, more)
    marked = [column for column in table.score_columns if any(row.cell(column.key).best for row in table.rows)]
    if marked and (len(marked) == 1 or marked[0].kind == "average"):
        return _summarize_column(table, marked[0], room)
    led: dict[str, list[str]] = {}
    for column in marked:
        row = _leader(table, column)
        subject = "No row leads" if row is None else f"{_leader_name(table, row, column)}{_costs(table, [row])} leads"
        led.setdefault(subject, []).append(column.label)
    first, *others = [f"{subject} on {join_names(labels)}. " for subject, labels in led.items()] or [""]
    return _fit(room, first, others)


def _summarize_grid(found: BestOfK) -> str:
    """Return a sentence on the differences after k trials of tuning, with a space at its end."""
    k = TRIALS if TRIALS in {*found.pairs.k} else found.pairs.k.max()
    parts = []
    for pair in found.pairs[found.pairs.k == k][:MAX_NAMED].itertuples():
        verdict = "not certain" if pair.p_holm > ALPHA else "better" if pair.difference > 0 else "worse"
        numbers = f"{signed(pair.difference)} points ({format_interval(pair)})"
        parts.append(f"{pair.row} − {pair.reference} {numbers}: {verdict}")
    return f"After {k} trials of tuning on {found.task}: {'; '.join(parts)}. "


def _fit(room: int, first: str, others: Sequence[str], last: str = "") -> str:
    """Return the first sentence, the other sentences that fit into ``room`` characters, and the last sentence."""
    for sentence in others:
        first += sentence if len(first) + len(sentence) + len(last) <= room else ""
    return (first + last).rstrip()


def _summarize_column(table: Table, column: Column, room: int) -> str:
    subject = column.label if column.kind == "task" else f"the {column.label.replace('Mean', 'mean')}"
    subject += f" ({column.details[-1]})" if column.examples else ""
    after = [_failures(table, column), _compare_with_reference(table, column)]
    if leader := _leader(table, column):
        others = "others" if all(row.cell(column.key).compared for row in table.rows) else "other compared rows"
        name, value = _leader_name(table, leader, column), cell_value(leader.cell(column.key))
        few = FEW_SEEDS.get(_tested_seeds(table, column))
        first = (
            f"{name}{_costs(table, [leader])} leads on {subject} with {value}; all {others} are significantly worse."
        )
        return _fit(room, first, after, f" {few} cannot show which method is better." if few else "")
    equal = _equal_rows(table, column)
    names = short_names(equal)
    shown = [f"{shorten(names[row.name], MAX_NAME)} {_score(row, column)}" for row in equal[:MAX_NAMED]]
    shown += [f"{len(equal) - MAX_NAMED} more"] if len(equal) > MAX_NAMED else []
    who = "No row" if len(table.rows) <= MANY_ROWS else f"None of {len(table.rows)} rows"
    rated = f"are not significantly different{_costs(table, equal)}"
    if all(row.cell(column.key).p is None for row in equal):
        has = "has the highest score" if len(equal) == 1 else "have the same highest score"
        rated = f"{has}{', with a warning' if any(row.cell(column.key).warned for row in equal) else ''}"
    return _fit(room, f"{who} leads on {subject}: {join_names(shown)} {rated}.", after)


def _equal_rows(table: Table, column: Column) -> list[Row]:
    """Return the rows with the best score, and the rows that are not significantly worse, the best first.

    Rows that could not be tested are included only if they all have the best score.
    """
    rows = [row for row in table.rows if row.cell(column.key).best or row.cell(column.key).tied]
    rows.sort(key=lambda row: (not row.cell(column.key).best, -(row.cell(column.key).value or 0.0)))
    first = next(row for row in rows if row.cell(column.key).p is None)
    tested = [row for row in rows if row.cell(column.key).p is not None]
    return [first, *tested] if tested else rows


def _score(row: Row, column: Column) -> str:
    return f"{cell_value(row.cell(column.key))}{SIGN * row.cell(column.key).warned}"


def _leader_name(table: Table, row: Row, column: Column) -> str:
    """Return the label of a row or, if there are too few seeds for a statement about methods, ``This run of NAME``."""
    seeds, name = _tested_seeds(table, column), shorten(row.label, 2 * MAX_NAME)
    return name if seeds not in FEW_SEEDS else f"{'This run' if seeds == 1 else 'These runs'} of {name}"


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


def _compare_with_reference(table: Table, column: Column) -> str:
    """Return a sentence on the rows that differ from the reference row, if the other pairs are tested too."""
    reference = table.references.get(column.key)
    pairs = table.pairs[table.pairs["column"] == column.key]
    tested = int(pairs["p_reference"].notna().sum())
    if reference is None or tested == len(pairs):
        return ""
    by_sign = {sign: [row for row in table.rows if row.cell(column.key).sign == sign] for sign in (1, -1)}
    names = short_names([reference, *by_sign[1], *by_sign[-1]])
    parts = [
        f"{_name_rows(rows, names)} {'is' if len(rows) == 1 else 'are'} significantly {word}"
        for rows, word in ((by_sign[1], "better"), (by_sign[-1], "worse"))
        if rows
    ]
    shown = join_names(parts) if parts else f"none of the {plural(tested, 'tested row')} is significantly different"
    return f" Compared with {shorten(names[reference.name], MAX_NAME)}, {shown}."


def _name_rows(rows: Sequence[Row], names: Mapping[str, str]) -> str:
    shown = join_names([names[row.name] for row in rows])
    return shown if len(rows) <= MAX_NAMED and len(shown) <= 2 * MAX_NAME else plural(len(rows), "row")


def _failures(table: Table, column: Column) -> str:
    """Return a sentence on the rows that failed."""
    failed = [row for row in table.rows if row.cell(column.key).failed and not row.cell(column.key).best]
    share = f"more than {MAX_INVALID_SHARE:.0%} of the predictions are invalid".replace("%", " %")
    return f" {_name_rows(failed, short_names(failed))} failed: {share}." if failed else ""


def _costs(table: Table, rows: Sequence[Row]) -> str:
    """Return the costs of rows as text, such as `` (0.071 % of the parameters, 70 to 74 s of training)``.

    The text contains the training time only if the machine was quiet.
    """
    words = []
    quiet = is_quiet(run for row in rows for run in row.done)
    for key in ["params", *(["time"] if quiet else [])]:
        unit, digits = COSTS[find_quantity(key, table)[0]]
        values = sorted(cell.value for row in rows if (cell := row.cell(key)).value is not None)
        shown = [number(value, digits) for value in values]
        words += [f"{' to '.join(dict.fromkeys([shown[0], shown[-1]]))} {unit}"] if shown else []
    return f" ({', '.join(words)})" if words else ""
