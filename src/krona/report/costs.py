"""Compute the costs and other quantities of runs for tables and charts, and fill Tables 2 and 8 of the paper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import fmean, median
from typing import Literal

import pandas as pd

from krona.display_names import task_label
from krona.messages import KronaError, did_you_mean
from krona.report.layouts import Layout
from krona.report.table import AVERAGE, SCORES, Cell, Column, Row, Table

REFERENCE = "full"
TRAINING_TIME = Column("training_time", "Training time (%)", "time")  # of Table 2


@dataclass(frozen=True)
class Quantity:
    """A cost or another quantity of runs (`ReportRun.costs`): a column of a table and an axis of charts."""

    heading: str  # the heading of the table column
    unit: float = 1.0  # the value is divided by this unit for display
    axis: str = ""  # the axis label in charts; if the label is empty, no chart shows the quantity
    # the value of a cell; "median": the median over seeds and, with several tasks, the mean of their medians
    statistic: Literal["max", "median"] = "max"
    digits: int = 0  # the argument ``digits`` of `krona.report.text.number`
    always: bool = False  # the column is shown even if no row has a value
    logarithmic: bool = False  # whether the axis in charts is logarithmic


# Maps the name of each quantity to its definition, in the order of the table columns.
QUANTITIES = {
    "params": Quantity("Params (%)", axis="trainable parameters", digits=-3, always=True, logarithmic=True),
    "rank": Quantity("Rank of the update", always=True),
    "time": Quantity("Training (s)", axis="training time (s)", statistic="median", always=True),
    "step": Quantity("Step (ms)", 1e-3, statistic="median", digits=-3),
    "memory": Quantity("Peak memory (GB)", 1e9, axis="peak memory (GB)", digits=-3),
    "adapter": Quantity("Adapter (KB)", 1e3, digits=-3),
    "adds": Quantity("Multiply-adds per token (M)", 1e6, digits=-3),
    "launches": Quantity("Launches added"),
}
# Replaces "time" in a table whose runs all recorded it: other processes on the machine change it less.
PROCESSOR_TIME = replace(QUANTITIES["time"], heading="Training (CPU s)", axis="training time (CPU s)")
SHOWN = ("score", "params", "time", "memory")  # the columns of a table that is not the paper's
CHARTED = ("params", "time", "memory")  # the costs that have charts, in the order of the charts
MAX_LOAD = 1.25  # the machine was quiet if its load per core was at most this; a run alone has up to 1


def add_quantities(layout: Layout, table: Table) -> None:
    """Add the layout's columns of costs and other quantities to a table, with the parameters as the first column."""
    relative = _relative_steps(table, layout.rows[0]) if layout.name == "7" else {}
    runs = table.runs[table.runs["done"]]
    for name in layout.extras:
        cost, quantity = find_quantity(name, table)
        cost = "percent" if cost == "params" else cost
        values = summarize(runs, cost, quantity.statistic) / quantity.unit
        if cost in ("time", "cpu"):
            values = values[runs.groupby("row")[cost].max() > 0]
        for i, row in enumerate(table.rows):
            value = float(values.get(i, math.nan))
            digits = 0 if cost != "percent" and value >= 100 else quantity.digits
            cell = Cell(missing="") if math.isnan(value) else Cell(value, digits=digits)
            row.cells[name] = _mean_cell([*relative[row].values()], 1) if relative else cell
        cells = [row.cells[name] for row in table.rows if row.cells[name].value is not None]
        if cells or quantity.always:
            at = 0 if name == "params" else len(table.columns)
            table.columns.insert(at, Column(name, quantity.heading, name))
        # Round all values to the same number of decimals. The smallest value then has -digits significant digits.
        if quantity.digits < 0:
            sizes = [math.floor(math.log10(cell.value)) for cell in cells if cell.value]
            for cell in cells:
                cell.digits = max(0, -quantity.digits - 1 - min(sizes, default=2))


def choose_columns(table: Table, names: Sequence[str]) -> list[Column]:
    """Return the columns of a table to show.

    Args:
        names: ``score`` (all scores) and names of `QUANTITIES`, in this order. Empty: all columns for a table of the
            paper, and otherwise those of `SHOWN` in the order of the table.

    Raises:
        KronaError: a name is unknown.
    """
    if unknown := [name for name in names if name not in ("score", *QUANTITIES)]:
        raise KronaError(f"--columns {unknown[0]} is unknown: {did_you_mean(unknown[0], ['score', *QUANTITIES])}")
    if table.section is None or (table.name.isdigit() and not names):
        return table.columns
    kinds = [SCORES if name == "score" else (name,) for name in names or SHOWN]
    groups = kinds if names else [tuple(chain(*kinds))]
    return [column for group in groups for column in table.columns if column.kind in group]


def find_quantity(name: str, table: Table) -> tuple[str, Quantity]:
    """Return the key in `ReportRun.costs` of a quantity of a table, and the quantity.

    The training time is processor time if all finished runs of the table recorded it.
    """
    runs = table.runs[table.runs["done"]]
    if name == "time" and len(runs) and runs["cpu"].notna().all():
        return "cpu", PROCESSOR_TIME
    return name, QUANTITIES[name]


def summarize(runs: pd.DataFrame, cost: str, statistic: str) -> "pd.Series[float]":
    """Return the statistic of a cost by row, over the runs for which the cost is known."""
    if statistic == "max":
        return runs.groupby("row")[cost].max()
    return runs.groupby(["row", "task"])[cost].median().groupby("row").mean()


def _relative_steps(table: Table, reference: str) -> dict[Row, dict[str, Cell]]:
    """Return, for each row and task, the seconds per step relative to the reference row.

    A task of a row is omitted if the row or the reference row has no times for this task.
    """
    references = [i for i, row in enumerate(table.rows) if row.key == reference and not row.settings]
    base = table.runs[table.runs["row"].isin(references)].groupby("task")["step"].median()
    timed = table.runs.assign(relative=table.runs["step"] / table.runs["task"].map(base)).dropna(subset="relative")
    cells: dict[Row, dict[str, Cell]] = {row: {} for row in table.rows}
    for (i, task), group in timed.groupby(["row", "task"], sort=False):
        by_seed = dict(zip(group["seed"], group["relative"], strict=True))
        cells[table.rows[i]][task] = Cell(median(by_seed.values()), [*group["run"]], by_seed)
    return cells


def fill_times(layout: Layout, table: Table, tasks: Sequence[str]) -> list[str]:
    """Fill Table 8, or the training times of Table 2, with the times of the runs."""
    percent = layout.name == "2"
    columns = [] if percent else [Column(task, task_label(task), "time") for task in tasks]
    mean = TRAINING_TIME if percent else Column(AVERAGE, "Mean", "time")
    table.columns = [*columns, mean]
    for row, cells in _relative_steps(table, REFERENCE).items():
        for column in columns:
            missing = f"no {REFERENCE} run to compare with" if column.key in row.runs else "no run"
            row.cells[column.key] = cells.get(column.key) or Cell(missing=missing)
        row.cells[mean.key] = _mean_cell([*cells.values()], 100 if percent else 1)
    return ["Training times are ratios of seconds per step."] if percent else []


def _mean_cell(cells: Sequence[Cell], scale: int) -> Cell:
    if not (values := [cell.value * scale for cell in cells if cell.value is not None]):
        return Cell(missing="no run")
    runs = [run for cell in cells for run in cell.runs]
    return Cell(fmean(values), runs, digits=0 if scale == 100 else 2)
