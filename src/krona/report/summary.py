"""Build the summary of a report: the best row, the rows that are not significantly worse, and their costs."""

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
    """Return a sentence on the best row by the mean over tasks.

    If no row has a score on every task, the sentence names the best row on each task.
    """
    marked = [column for column in table.score_columns if _best_row(table, column) is not None]
    tasks = [column for column in marked if column.kind == "task"]
    if not marked:
        return ""
    if marked[0].kind == "average" or len(tasks) == 1:
        return _summarize_column(table, marked[0])
    leaders: dict[str, list[str]] = {}
    for column in tasks:
        row = _best_row(table, column)
        assert row is not None
        leaders.setdefault(f"{row.name}{_cost_words([row])}", []).append(column.label)
    return f"{'; '.join(f'{name} leads on {join_names(labels)}' for name, labels in leaders.items())}."


def _summarize_column(table: Table, column: Column) -> str:
    best = _best_row(table, column)
    assert best is not None
    cell = best.cell(column.key)
    others = [row for row in table.rows if row.cell(column.key).value is not None and row is not best]
    first = [best, *(row for row in others if row.cell(column.key).value == cell.value)]
    tied = [row for row in others if row.cell(column.key).tied and row not in first]
    named = [*first, *tied]
    together = len(named) > 1 and len({_cost_words([row]).partition(",")[0] for row in named}) == 1

    def name(row: Row) -> str:
        return row.name if together else f"{row.name}{_cost_words([row])}"

    subject = column.label if column.kind == "task" else f"the {column.label.replace('Mean', 'mean')}"
    size = f" ({column.details[-1]})" if column.examples else ""
    mark = cell_mark(cell).strip("*~")
    lead = f"lead{'s' * (len(first) == 1)} on {subject}"
    sentence = f"{join_names([*map(name, first)])} {lead} with {cell_value(cell)}{mark}{size}"
    if tied:
        near = [*map(name, tied[:MOST_NAMED])]
        near += [f"{len(tied) - MOST_NAMED} more"] if len(tied) > MOST_NAMED else []
        sentence += f"; {join_names(near)} {'is' if len(tied) == 1 else 'are'} not significantly behind"
    elif others and all(row.cell(column.key).p is not None for row in others if row not in first):
        sentence += "; all others are significantly behind on these rows" * (len(others) >= len(first))
    return f"{sentence}{_cost_words(named) if together else ''}."


def _best_row(table: Table, column: Column) -> Row | None:
    return next((row for row in table.rows if row.cell(column.key).best), None)


def _cost_words(rows: Sequence[Row]) -> str:
    """Return the costs of rows as text, such as `` (0.071 % of the parameters, 70 to 74 s of training)``."""
    words = []
    for key, unit in UNITS.items():
        values = sorted(cell.value for row in rows if (cell := row.cell(key)).value is not None)
        shown = [number(value, DIGITS[key]) for value in values]
        words += [f"{' to '.join(dict.fromkeys([shown[0], shown[-1]]))} {unit}"] if shown else []
    return f" ({', '.join(words)})" if words else ""
