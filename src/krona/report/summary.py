"""Build the summary of a report: the row that leads, or the best rows if none leads, and their costs."""

from collections.abc import Sequence

from krona.messages import amount, join_names
from krona.paper import task_label
from krona.report.table import Column, Report, Row, Table
from krona.report.text import cell_mark, cell_value, number

MOST_NAMED = 4  # longer lists of rows, methods or tasks are shortened
UNITS = {"params": "% of the parameters", "time": "s of training"}
DIGITS = {"params": -3, "time": 0}


def describe_subject(tables: Sequence[Table]) -> str:
    """Return the methods and tasks of a report as text.

    Examples are ``LoRA and KronA on RTE``, ``9 methods on 8 tasks`` and ``KronA in 7 settings on RTE``.
    """
    tables = [table for table in tables if table.section is not None]
    rows = [row for table in tables for row in table.rows]
    columns = [column for table in tables for column in table.columns]
    labels = list(dict.fromkeys(row.label for row in rows))
    tasks = list(dict.fromkeys(task_label(column.key) for column in columns if column.kind == "task"))
    if not labels or not tasks:
        return ""
    methods = join_names(labels) if len(labels) <= MOST_NAMED else f"{len(labels)} methods"
    settings = {row.differs for row in rows}
    methods += f" in {amount(len(settings), 'setting')}" if len(labels) == 1 and len(settings) > 1 else ""
    return f"{methods} on {join_names(tasks) if len(tasks) <= MOST_NAMED else amount(len(tasks), 'task')}"


def summarize(report: Report) -> list[str]:
    """Return a sentence for each table with a best row. The sentence uses only the numbers and tests of the table."""
    found = [(table, _summarize_table(table)) for table in report.tables]
    found = [(table, sentence) for table, sentence in found if sentence]
    return [f"{table.heading}: {sentence}" if len(found) > 1 else sentence for table, sentence in found]


def _summarize_table(table: Table) -> str:
    """Return a sentence on the mean over tasks. If no row has a score on every task, it is on single tasks."""
    marked = [column for column in table.score_columns if any(row.cell(column.key).best for row in table.rows)]
    if len(marked) < 2 or marked[0].kind == "average":
        return _summarize_column(table, marked[0]) if marked else ""
    led: dict[str, list[str]] = {}
    for column in marked:
        row = _leader(table, column)
        subject = "No row leads" if row is None else f"{row.name}{_cost_words([row])} leads"
        led.setdefault(subject, []).append(column.label)
    return f"{'; '.join(f'{subject} on {join_names(labels)}' for subject, labels in led.items())}."


def _leader(table: Table, column: Column) -> Row | None:
    """Return the row that leads in a column, or None.

    A row leads if all other compared rows are significantly worse and its score has no warning.
    """
    cells = {row.key: row.cell(column.key) for row in table.rows if row.cell(column.key).compared}
    best = [row for row in table.rows if row.cell(column.key).best]
    worse = [cell.p is not None and not cell.tied for cell in cells.values() if not cell.best]
    return best[0] if len(best) == 1 and all(worse) and not best[0].cell(column.key).warned else None


def _summarize_column(table: Table, column: Column) -> str:
    """Return a sentence on a column of scores. It names the leading row, or says that no row leads and why."""
    subject = column.label if column.kind == "task" else f"the {column.label.replace('Mean', 'mean')}"
    subject += f" ({column.details[-1]})" if column.examples else ""
    named = [row for row in table.rows if row.cell(column.key).best]
    tied = [row for row in table.rows if row.cell(column.key).tied]
    named += sorted(tied, key=lambda row: -(row.cell(column.key).value or 0.0))
    shown = [_score(row, column) for row in named[:MOST_NAMED]]
    shown += [f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
    if leader := _leader(table, column):
        score = cell_value(leader.cell(column.key))
        lead = f"{leader.name}{_cost_words(named)} leads on {subject} with {score}"
        return f"{lead}; all others are significantly worse."
    if len(named) > 1:
        return f"No row leads on {subject}: {join_names(shown)} are not significantly different{_cost_words(named)}."
    if named[0].cell(column.key).warned:
        return f"No row leads on {subject}, because the highest score has a warning."
    return f"No row leads on {subject}, because the other rows could not be tested against {shown[0]}."


def _score(row: Row, column: Column) -> str:
    cell = row.cell(column.key)
    return f"{row.name} {cell_value(cell)}{cell_mark(cell).strip('*~')}"


def _cost_words(rows: Sequence[Row]) -> str:
    """Return the costs of rows as text, such as `` (0.071 % of the parameters, 70 to 74 s of training)``."""
    words = []
    for key, unit in UNITS.items():
        values = sorted(cell.value for row in rows if (cell := row.cell(key)).value is not None)
        shown = [number(value, DIGITS[key]) for value in values]
        words += [f"{' to '.join(dict.fromkeys([shown[0], shown[-1]]))} {unit}"] if shown else []
    return f" ({', '.join(words)})" if words else ""
