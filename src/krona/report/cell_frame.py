"""Define the frame of a report's cells, which is its CSV format."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from krona.report.notes import cell_messages
from krona.report.table import Cell, Column, Report, Table
from krona.runs.suspicious_scores import SIGN

FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """A row of the frame: a cell of a table, an unfinished run, or an unusable file. Numbers are not rounded.

    Further columns contain the metrics of the scores (`_metrics`).
    """

    table: str  # the table's name; "not finished" for a run, "not used" for a file
    section: str | None = None  # the data and the backbone
    row: str | None = None  # the label of the row
    differs: str | None = None  # the settings that distinguish the row from others of its label
    column: str | None = None  # a task, "avg", or a quantity such as "params"
    metric: str | None = None
    value: float | None = None
    t_low: float | None = None  # Student's t interval over seeds (95 %)
    t_high: float | None = None
    seeds: str | None = None
    test_low: float | None = None  # bootstrap interval over examples (95 %)
    test_high: float | None = None
    paper: float | None = None  # the paper's number
    difference: float | None = None  # the value minus the paper's number
    best: int | None = None  # 1 for the best cell of the column
    not_told_apart: int | None = None  # 1 if the cell is not significantly worse than the best
    p_holm: float | None = None  # of the test against the best cell
    against_reference: float | None = None  # 1 or -1: significantly better or worse than the reference row
    mark: str | None = None  # "!" for a warning
    messages: str | None = None  # about the score; for an unfinished run, its error or its progress
    warning: str | None = None  # about the table
    missing: str | None = None  # why the cell has no value; the state of a run; what is wrong with a file
    runs: str | None = None  # the ids of the runs


COLUMNS = tuple(field.name for field in fields(CellRecord))


def cells_to_frame(report: Report) -> pd.DataFrame:
    """Return a frame with one row (`CellRecord`) for each cell, unfinished run and file that could not be used."""
    rows = [vars(record) | metrics for record, metrics in _records(report)]
    names = sorted({name for row in rows for name in row} - {*COLUMNS})
    return pd.DataFrame(rows, columns=[*COLUMNS, *names])


def _records(report: Report) -> Iterator[tuple[CellRecord, dict[str, float]]]:
    for table in report.tables:
        for row in table.rows:
            for column in table.columns:
                keys = {"row": row.label, "differs": row.differs, "column": column.key, "metric": column.metric}
                cell = row.cell(column.key)
                record = _record(cell, table=table.name, section=table.heading, warning=table.warning, **keys)
                yield record, _metrics(cell, column, table)
    for run in report.unfinished:
        reason = run.result.error or run.result.reached
        yield CellRecord(table="not finished", messages=reason, missing=run.status, runs=run.run_id), {}
    for problem in report.problems:
        yield CellRecord(table="not used", missing=problem), {}


def _metrics(cell: Cell, column: Column, table: Table) -> dict[str, float]:
    """Return the mean over seeds of each metric of a task, by the metric's name."""
    if table.section is None or column.kind not in ("task", "other_split"):
        return {}
    split = table.split if column.kind == "task" else column.key.rpartition(" ")[2]
    parts = {run.seed: getattr(run.result, split)["parts"] for run in cell.runs if split in run.scores}
    return {} if not parts else {str(name): mean for name, mean in pd.DataFrame(parts).mean(axis=1).items()}


def _record(cell: Cell, *, table: str, **keys: str | None) -> CellRecord:
    t_low, t_high = cell.t_interval or (None, None)
    test_low, test_high = cell.test_interval or (None, None)
    return CellRecord(
        table=table, value=cell.value, t_low=t_low, t_high=t_high, seeds=" ".join(map(str, cell.seeds)),
        test_low=test_low, test_high=test_high, paper=cell.paper, difference=cell.difference, best=int(cell.best),
        not_told_apart=int(cell.tied), p_holm=cell.p, against_reference=cell.sign, mark=SIGN * cell.warned,
        messages=" ".join(cell_messages(cell)), missing=cell.missing,
        runs=" ".join(run.run_id for run in cell.runs), **keys,
    )  # fmt: skip


def render_csv(report: Report, out: Path | None) -> str:
    """Return the frame as CSV. Text that a spreadsheet would run as a formula is prefixed with an apostrophe."""
    frame = cells_to_frame(report)
    for name in frame.columns:
        quoted = (
            frame[name].map(lambda value: isinstance(value, str) and value.lstrip().startswith(FORMULA)).astype(bool)
        )
        frame[name] = frame[name].mask(quoted, "'" + frame[name].astype(str))
    flags = {name: frame[name].astype("Int64") for name in ("best", "not_told_apart")}  # written as 1 and 0
    return str(frame.assign(**flags).to_csv(index=False, lineterminator="\n"))
