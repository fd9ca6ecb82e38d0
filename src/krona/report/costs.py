"""Compute the costs and other quantities of runs for tables and charts, and fill Tables 2 and 8 of the paper."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from krona.paper import method_label, task_label
from krona.paths import typed_command
from krona.report.layouts import Layout, row_order
from krona.report.stored_runs import StoredRun, finished
from krona.report.table import AVERAGE, Cell, Column, Row, Table
from krona.runs.file_names import ADAPTER
from krona.safe_files import read_json

REFERENCE = "full"
PAPER_BACKBONE = "t5_base"  # its name in conf/backbone
TIMES = [
    Column("latency", "Inference latency (%)", "time"),
    Column("launches", "Launches added", "launches"),
    Column("training_time", "Training time (%)", "time"),
]

Value = Callable[[StoredRun], float | None]


@dataclass(frozen=True)
class Quantity:
    """A cost or another number of a run, which can be a column of a table and the axis of a chart."""

    heading: str  # of the column
    value: Value  # returns the number of a run, or None if it is unknown
    unit: float = 1.0  # the shown unit; the value is divided by it
    axis: str = ""  # the label of the axis in charts; without it, the quantity is in no chart
    average: bool = False  # a cell shows the mean over runs, otherwise the largest value
    digits: int = 0  # as in `krona.report.wording.number`
    always: bool = False  # the column is shown even if no row has a value
    logarithmic: bool = False  # the axis in charts


def step_seconds(run: StoredRun) -> float | None:
    """Return the seconds per training step of a finished run. They do not depend on early stopping."""
    curve, train = run.result.dev_curve, run.result.times.get("train")
    steps = run.result.progress.get("step") or (curve[-1].get("step") if curve else None)
    return train / steps if run.status == "done" and train and steps else None


def _peak_memory(run: StoredRun) -> float | None:
    return run.result.peak_memory.get("device") or run.result.peak_memory.get("host")


def _adapter_size(run: StoredRun) -> float | None:
    path = run.path.with_name(ADAPTER)
    return path.stat().st_size if path.is_file() else None


def _recorded(key: str) -> Value:
    return lambda run: dict(run.result.provenance).get(key)  # type: ignore[return-value]


# The quantities by name, in the order of the columns of a table.
QUANTITIES = {
    "params": Quantity(
        "Params (%)", lambda run: run.result.trainable_params, axis="trainable parameters",
        digits=-3, always=True, logarithmic=True,
    ),
    "rank": Quantity(
        "Rank of the update", _recorded("update_rank"), axis="highest rank of the update",
        always=True, logarithmic=True,
    ),
    "effective": Quantity(
        "Effective rank", lambda run: (run.result.learned or {}).get("effective_rank"),
        axis="effective rank of the update", average=True, digits=1, logarithmic=True,
    ),
    "time": Quantity(
        "Training (s)", lambda run: run.result.times.get("train"), axis="training time (s)", average=True, always=True,
    ),
    "step": Quantity("Step (ms)", step_seconds, 1e-3, average=True, digits=-3),
    "memory": Quantity("Peak memory (GB)", _peak_memory, 1e9, axis="peak memory (GB)", digits=-3),
    "adapter": Quantity("Adapter (KB)", _adapter_size, 1e3, digits=-3),
    "adds": Quantity("Multiply-adds (M)", _recorded("multiply_adds"), 1e6, digits=-3),
    "launches": Quantity("Launches added", _recorded("launches")),
}  # fmt: skip
COSTS = ("params", "time", "memory")  # the costs with charts, in their order


def add_quantities(layout: Layout, table: Table) -> None:
    """Add the layout's columns of costs and other quantities. The column of parameters is the first of the table."""
    relative = _relative_steps(table.rows, layout.rows[0]) if layout.name == "7" else {}
    for name in layout.extras:
        quantity = QUANTITIES[name]
        for row in table.rows:
            cell = _mean_cell([*relative[row].values()], 1) if relative else _quantity_cell(name, row.all_runs)
            row.cells[name] = cell
        known = [row.cells[name] for row in table.rows if row.cells[name].value is not None]
        if known or quantity.always:
            place = 0 if name == "params" else len(table.columns)
            table.columns.insert(place, Column(name, quantity.heading, name))
        if quantity.digits < 0:  # the smallest value has this number of significant digits
            sizes = [math.floor(math.log10(cell.value)) for cell in known if cell.value]
            for cell in known:
                cell.digits = max(0, -quantity.digits - 1 - min(sizes, default=2))


def _quantity_cell(name: str, runs: Sequence[StoredRun]) -> Cell:
    """Return the cell of a quantity: its mean over finished runs or, if it does not depend on the seed, its maximum."""
    one = QUANTITIES[name]
    value = (lambda run: run.result.trainable_percent) if name == "params" else one.value
    found = [known / one.unit for run in finished(runs) if (known := value(run)) is not None]
    if not found or (name == "time" and not any(found)):
        return Cell(missing="")
    shown = fmean(found) if one.average else float(max(found))
    return Cell(shown, digits=0 if name != "params" and shown >= 100 else one.digits)


def mean_cost(runs: Sequence[StoredRun], cost: str) -> float | None:
    """Return the mean of a cost over runs, or None if the cost is unknown for one of them."""
    values = [QUANTITIES[cost].value(run) for run in runs]
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return for each point (score, cost) whether it is on the Pareto front.

    A point is on the front if no different point has at least its score at no higher cost.
    """
    return [
        not any(score >= own_score and cost <= own and (score, cost) != (own_score, own) for score, cost in points)
        for own_score, own in points
    ]


def _relative_steps(rows: Sequence[Row], reference: str) -> dict[Row, dict[str, Cell]]:
    """Return, for each row, a dict from task to the seconds per step relative to the reference row.

    A task is left out if the row or the reference row has no times for it.
    """
    runs_of = next((row.runs for row in rows if row.key == reference and not row.settings), {})
    base = {task: [seconds for run in runs if (seconds := step_seconds(run))] for task, runs in runs_of.items()}
    found: dict[Row, dict[str, Cell]] = {}
    for row in rows:
        cells = found[row] = {}
        for task, runs in row.runs.items():
            timed = {run.result.seed: (run, seconds) for run in runs if (seconds := step_seconds(run))}
            if timed and base.get(task):
                ratios = {seed: seconds / float(np.mean(base[task])) for seed, (_, seconds) in timed.items()}
                cells[task] = Cell(float(np.mean([*ratios.values()])), [run for run, _ in timed.values()], ratios)
    return found


def benchmark_tables(layout: Layout, folders: Sequence[Path]) -> tuple[list[Table], list[str]]:
    """Return Table 2 from the results of the latency and training benchmarks, and a sentence for each damaged file."""
    found: dict[str, dict[str, Any]] = {}
    problems = []
    for path in (folder / "bench" / f"{kind}.json" for folder in folders for kind in ("latency", "training")):
        try:
            content = read_json(path)
            for row in content["rows"]:
                ratio = row["ratio_to_full"]  # null if full fine-tuning was not measured
                str(row["name"]), None if ratio is None else float(ratio)
            machine = content["machine"]["gpu"] or content["machine"]["processor"]
            options = (content.get("settings") or {}).get("options") or {}
            backbone = str(options.get("backbone", PAPER_BACKBONE))
            found[path.stem] = {**content, "machine": str(machine), "backbone": backbone}
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            problems.append(f"{path} is not a result of a benchmark ({reason}). Run bench.py again.")
    return [_benchmark_table(layout, found)] if found else [], problems


def _benchmark_table(layout: Layout, benches: dict[str, dict[str, Any]]) -> Table:
    by_name = {kind: {row["name"]: row for row in bench["rows"]} for kind, bench in benches.items()}
    others = {kind: bench["backbone"] for kind, bench in benches.items() if bench["backbone"] != PAPER_BACKBONE}
    machines = " and ".join(dict.fromkeys(bench["machine"] for bench in benches.values()))
    table = Table(layout.name, layout.title, f"Bench on {machines}", layout.axis, TIMES, [])
    names = {*layout.rows, *(name for rows in by_name.values() for name in rows)}
    for name in sorted(names, key=lambda one: row_order(layout, one)):
        row = Row(name, method_label(name))
        for column, kind in (("latency", "latency"), ("training_time", "training")):
            cell = _benchmark_cell(by_name.get(kind, {}).get(name), kind)
            cell.paper = layout.paper.value(name, column) if layout.paper else None
            cell.comparable = cell.value is not None and kind not in others
            row.cells[column] = cell
        added = by_name.get("latency", {}).get(name, {}).get("launches_added")
        row.cells["launches"] = Cell(added, digits=0) if added is not None else Cell(missing="not counted")
        table.rows.append(row)
    table.notes = [
        *layout.notes,
        "Latency is measured with batch size 1 and length 10. The number of added launches does not depend on the GPU.",
    ]
    for kind, name in others.items():
        table.notes.append(
            f"bench={kind} ran on {name}. It is not compared with the paper's numbers, which are for {PAPER_BACKBONE}."
        )
    return table


def _benchmark_cell(found: dict[str, Any] | None, kind: str) -> Cell:
    if found is None or found["ratio_to_full"] is None:
        missing = "not measured" if found is None else "measured without full"
        return Cell(missing=missing, command=f"{typed_command('bench')} bench={kind}")
    return Cell(100 * float(found["ratio_to_full"]), digits=0)


def fill_times(layout: Layout, table: Table, tasks: Sequence[str]) -> list[str]:
    """Fill Table 8, or the training time of Table 2, with the times of the runs. Return notes."""
    percent = layout.name == "2"
    columns = [] if percent else [Column(task, task_label(task), "time") for task in tasks]
    mean = TIMES[-1] if percent else Column(AVERAGE, "Mean", "time")
    table.columns = [*columns, mean]
    for row, cells in _relative_steps(table.rows, REFERENCE).items():
        for column in columns:
            missing = "no run" if not row.runs.get(column.key) else f"no {REFERENCE} run to compare with"
            row.cells[column.key] = cells.get(column.key) or Cell(missing=missing)
        row.cells[mean.key] = _mean_cell([*cells.values()], 100 if percent else 1)
    notes = []
    if percent:
        notes.append("Training time is from the seconds per step. For launches, run: python bench.py bench=latency")
    devices = sorted({str(run.result.provenance.get("device")) for row in table.rows for run in row.all_runs})
    if len(devices) > 1:
        listed = ", ".join(devices)
        notes.append(f"The runs used {len(devices)} devices ({listed}). Ratios between devices are misleading.")
    if not any(cell.value is not None for row in table.rows for cell in row.cells.values()):
        full = layout.labels[REFERENCE]
        notes.append(f"Times are ratios to {full}, which has no run. Train it with method={REFERENCE}.")
    return notes


def _mean_cell(cells: Sequence[Cell], scale: int) -> Cell:
    if not (values := [cell.value * scale for cell in cells if cell.value is not None]):
        return Cell(missing="no run")
    runs = [run for cell in cells for run in cell.runs]
    return Cell(float(np.mean(values)), runs, digits=0 if scale == 100 else 2)
