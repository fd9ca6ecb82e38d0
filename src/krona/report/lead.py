"""The sentence that opens a report: who leads on what, who is not significantly behind, and at which cost."""

from krona.messages import listed
from krona.report.table import Cell, Column, Report, Row, Table
from krona.report.text import number, value, warning

MOST_NAMED = 4  # rows


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
        leaders.setdefault(_name(row), []).append(column.label)
    parts = [f"{name} leads on {listed(labels)}" for name, labels in leaders.items()]
    return f"{'; '.join(parts)}." if parts else ""


def _whole(table: Table, column: Column) -> str:
    best = _leader(table, column)
    assert best is not None
    cell = best.cells[column.key]
    what = column.label if column.kind == "task" else f"the {column.label.replace('Mean', 'mean')}"
    scored = [(row, row.cells[column.key]) for row in table.rows if column.key in row.cells]
    first = [row for row, one in scored if one.value == cell.value]
    names = listed([f"{_name(row)}{_cost(table, row)}" for row in first])
    lead = f"{names} lead{'s' * (len(first) == 1)} on {what} with {value(cell)}{warning(cell)}"
    others = [(row, one) for row, one in scored if row not in first]
    tied = [row for row, other in others if other.tied]
    if not tied:
        tested = [other for _, other in others if other.value is not None]
        behind = "; all others are significantly behind" if tested and all(one.p is not None for one in tested) else ""
        return f"{lead}{behind}."
    near = [f"{_name(row)}{_cost(table, row)}" for row in tied[:MOST_NAMED]]
    near += [f"{len(tied) - MOST_NAMED} more"] if len(tied) > MOST_NAMED else []
    return f"{lead}; {listed(near)} {'is' if len(tied) == 1 else 'are'} not significantly behind."


def _leader(table: Table, column: Column) -> Row | None:
    return next((row for row in table.rows if row.cells.get(column.key, Cell()).best), None)


def _name(row: Row) -> str:
    return f"{row.label} ({row.differs})" if row.differs else row.label


def _cost(table: Table, row: Row) -> str:
    """``(0.0710 % of the parameters, 12 s of training)``, as far as the table has it."""
    shown = []
    for kind, words in (("params", " % of the parameters"), ("time", " s of training")):
        columns = [one for one in table.columns if one.kind == kind and (kind != "time" or "(s)" in one.label)]
        cells = [row.cells.get(column.key, Cell()) for column in columns]
        digits = -3 if kind == "params" else 0
        shown += [f"{number(cell.value, digits)}{words}" for cell in cells if cell.value is not None]
    return f" ({', '.join(shown)})" if shown else ""
