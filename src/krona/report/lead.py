"""What opens a report: what it compares, who leads on what, who is not significantly behind, and at which cost."""

from collections.abc import Sequence

from krona.messages import amount, join_names
from krona.paper import task_label
from krona.report.table import Cell, Column, Report, Row, Table
from krona.report.text import number, value, warning

MOST_NAMED = 4  # rows
WORDS = {"params": " % of the parameters", "time": " s of training"}  # of costs, by the kind of column


def compared(tables: Sequence[Table]) -> str:
    """``LoRA and KronA on RTE``, ``9 methods on 8 tasks``, ``KronA in 7 settings on RTE``; empty without rows."""
    rows = [row for table in tables if table.section is not None for row in table.rows]
    columns = [column for table in tables if table.section is not None for column in table.columns]
    labels = list(dict.fromkeys(row.label for row in rows))
    tasks = list(dict.fromkeys(task_label(column.key) for column in columns if column.kind == "task"))
    if not labels or not tasks:
        return ""
    who = join_names(labels) if len(labels) <= MOST_NAMED else f"{len(labels)} methods"
    settings = {row.differs for row in rows}
    who += f" in {amount(len(settings), 'setting')}" if len(labels) == 1 and len(settings) > 1 else ""
    return f"{who} on {join_names(tasks) if len(tasks) <= MOST_NAMED else amount(len(tasks), 'task')}"


def lead(report: Report) -> list[str]:
    """A sentence for each table of runs that has a best row, in the report's own numbers and tests."""
    found = [(table, _of_table(table)) for table in report.tables if table.section is not None]
    told = [(table, sentence) for table, sentence in found if sentence]
    return [f"{table.heading}: {sentence}" if len(told) > 1 else sentence for table, sentence in told]


def _of_table(table: Table) -> str:
    """On the mean over tasks; where no row has all of them, on each task."""
    marked = [column for column in table.columns if _leader(table, column) is not None]
    averages = [column for column in marked if column.kind == "average"]
    tasks = [column for column in marked if column.kind == "task"]
    if averages or len(tasks) == 1:
        return _whole(table, (averages or tasks)[0])
    leaders: dict[str, list[str]] = {}
    for column in tasks:
        row = _leader(table, column)
        assert row is not None
        leaders.setdefault(f"{row.name}{_in_brackets(_costs(table, row))}", []).append(column.label)
    parts = [f"{name} leads on {join_names(labels)}" for name, labels in leaders.items()]
    return f"{'; '.join(parts)}." if parts else ""


def _whole(table: Table, column: Column) -> str:
    best = _leader(table, column)
    assert best is not None
    cell = best.cells[column.key]
    what = column.label if column.kind == "task" else f"the {column.label.replace('Mean', 'mean')}"
    scored = [(row, row.cells[column.key]) for row in table.rows if column.key in row.cells]
    first = [row for row, one in scored if one.value == cell.value]
    others = [(row, one) for row, one in scored if row not in first]
    tied = [row for row, other in others if other.tied]
    together = _together(table, [*first, *tied])
    alone = len({row.label for row in table.rows}) == 1 and all(row.differs for row in table.rows)

    def named(row: Row) -> str:
        return f"{row.differs if alone else row.name}{'' if together else _in_brackets(_costs(table, row))}"

    lead = f"{f'{best.label}: ' if alone else ''}{join_names(list(map(named, first)))} lead{'s' * (len(first) == 1)}"
    lead += f" on {what} with {value(cell)}{warning(cell)}"
    if not tied:
        tested = [other for _, other in others if other.value is not None]
        if tested and all(one.p is not None for one in tested):
            lead += "; all others are significantly behind on these rows"
        return f"{lead}.{together}"
    near = list(map(named, tied[:MOST_NAMED]))
    near += [f"{len(tied) - MOST_NAMED} more"] if len(tied) > MOST_NAMED else []
    return f"{lead}; {join_names(near)} {'is' if len(tied) == 1 else 'are'} not significantly behind.{together}"


def _together(table: Table, rows: Sequence[Row]) -> str:
    """`` Each: 0.071 % of the parameters, 70 to 74 s of training.``, where all of several rows cost about the same."""
    costs = [_costs(table, row) for row in rows]
    if len(rows) < 2 or not all(costs) or len({shown.get("params") for shown in costs}) > 1:
        return ""
    said = []
    for kind, words in WORDS.items():
        values = sorted({shown[kind] for shown in costs if kind in shown}, key=lambda one: float(one.replace(",", "")))
        said += [f"{values[0]}{f' to {values[-1]}' if len(values) > 1 else ''}{words}"] if values else []
    return f" Each: {', '.join(said)}."


def _leader(table: Table, column: Column) -> Row | None:
    return next((row for row in table.rows if row.cells.get(column.key, Cell()).best), None)


def _costs(table: Table, row: Row) -> dict[str, str]:
    """The row's share of the parameters and its training seconds as text, as far as the table has them."""
    shown = {}
    for column in table.columns:
        cell = row.cells.get(column.key, Cell())
        if column.kind == "params" and cell.value is not None:
            shown["params"] = number(cell.value, -3)
        if column.kind == "time" and "(s)" in column.label and cell.value is not None:
            shown["time"] = number(cell.value, 0)
    return shown


def _in_brackets(costs: dict[str, str]) -> str:
    """`` (0.071 % of the parameters, 12 s of training)``"""
    return f" ({', '.join(f'{shown}{WORDS[kind]}' for kind, shown in costs.items())})" if costs else ""
