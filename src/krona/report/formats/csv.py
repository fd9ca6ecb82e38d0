"""The CSV format: one line for each cell of the tables, with all its values."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from krona.messages import CONTROL
from krona.report.notes import cell_remarks
from krona.report.table import Cell, Report
from krona.runs.suspicious_scores import SIGN

FIELDS = (
    "table", "section", "row", "differs", "column", "metric", "value", "t_low", "t_high", "seeds",
    "test_low", "test_high", "paper", "difference", "best", "not_told_apart", "p_holm", "mark", "remarks", "caution",
    "missing", "command", "runs", "split",
)  # fmt: skip
# The beginning of a formula, also behind blanks and invisible characters, with full-width signs, and behind a separator
# at which a spreadsheet may split the line.
FORMULA = re.compile(rf"(^|[;\t\r\n])(?=(?:\s|{CONTROL.pattern})*+[=+\-@|＝＋－＠｜﹢﹣﹦﹫])")


def render(report: Report, out: Path | None) -> str:
    """Return the report as CSV. Numbers are not rounded.

    The last lines describe unfinished runs and files that could not be used. For an unfinished run, the column
    ``missing`` contains its status, and the column ``remarks`` its error or its progress. For a file, ``missing``
    contains the reason.
    """
    lines: list[Sequence[object]] = [FIELDS]
    for table in report.tables:
        for row in table.rows:
            for column in table.columns:
                cell = _fields(row.cell(column.key), table.caution)
                lines.append((table.name, table.heading, row.label, row.differs, column.key, column.metric, *cell))
    for run in report.unfinished:
        reason = run.result.error or run.result.reached
        lines.append(_line("not finished", remarks=reason, missing=run.status, runs=run.result.run_id))
    lines += [_line("not used", missing=problem) for problem in report.problems]
    text = io.StringIO()
    # the beginning of each value that a spreadsheet would run as a formula is quoted
    safe = [[FORMULA.sub(r"\1'", value) if isinstance(value, str) else value for value in line] for line in lines]
    csv.writer(text, lineterminator="\n").writerows(safe)
    return text.getvalue()


def _line(table: str, **fields: str) -> list[object]:
    return [*({**dict.fromkeys(FIELDS, ""), "table": table, **fields}).values()]


def _fields(cell: Cell, caution: str | None) -> tuple[object, ...]:
    low, high = cell.interval or ("", "")
    test_low, test_high = cell.test_interval or ("", "")
    return (
        cell.value, low, high, " ".join(map(str, cell.seeds)), test_low, test_high, cell.paper, cell.difference,
        int(cell.best), int(cell.tied), cell.p, SIGN * cell.warned, " ".join(cell_remarks(cell)), caution,
        cell.missing, cell.command, " ".join(run.result.run_id for run in cell.runs), cell.split,
    )  # fmt: skip
