"""Fill Tables 2 and 8 of the paper (latency, launches, training time) from benchmarks or from the times of the runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from krona.paper import method_label, task_label
from krona.paths import typed_command
from krona.report.costs import step_seconds
from krona.report.grouping import add_paper
from krona.report.layouts import Layout, row_order
from krona.report.table import AVERAGE, Cell, Column, Row, Table
from krona.safe_files import read_json

REFERENCE = "full"
PAPER_BACKBONE = "t5_base"  # its name in conf/backbone
COLUMNS = [
    Column("latency", "Inference latency (%)", "time"),
    Column("launches", "Launches added", "launches"),
    Column("training_time", "Training time (%)", "time"),
]


def relative_steps(rows: Sequence[Row], reference: str) -> dict[Row, dict[str, Cell]]:
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
            found[path.stem] = {**content, "machine": str(machine)}
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = f"{type(error).__name__}: {error}"
            problems.append(f"{path} is not a result of a benchmark ({reason}). Run bench.py again.")
    return [_benchmark_table(layout, found)] if found else [], problems


def _benchmark_table(layout: Layout, benches: dict[str, dict[str, Any]]) -> Table:
    by_name = {kind: {row["name"]: row for row in bench["rows"]} for kind, bench in benches.items()}
    others = {kind: name for kind, bench in benches.items() if (name := _backbone_name(bench)) != PAPER_BACKBONE}
    machines = " and ".join(dict.fromkeys(bench["machine"] for bench in benches.values()))
    table = Table(layout.name, layout.title, f"Bench on {machines}", layout.axis, COLUMNS, [])
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


def _backbone_name(bench: dict[str, Any]) -> str:
    options = (bench.get("settings") or {}).get("options") or {}
    return str(options.get("backbone", PAPER_BACKBONE))


def _benchmark_cell(found: dict[str, Any] | None, kind: str) -> Cell:
    if found is None or found["ratio_to_full"] is None:
        missing = "not measured" if found is None else "measured without full"
        return Cell(missing=missing, command=f"{typed_command('bench')} bench={kind}")
    return Cell(100 * float(found["ratio_to_full"]), digits=0)


def fill_times(layout: Layout, table: Table, tasks: Sequence[str]) -> None:
    """Fill Table 8, or the training time of Table 2, with the times of the runs."""
    percent = layout.name == "2"
    columns = [] if percent else [Column(task, task_label(task), "time") for task in tasks]
    mean = COLUMNS[-1] if percent else Column(AVERAGE, "Mean", "time")
    table.columns = [*columns, mean]
    for row, cells in relative_steps(table.rows, REFERENCE).items():
        for column in columns:
            missing = "no run" if not row.runs.get(column.key) else f"no {REFERENCE} run to compare with"
            row.cells[column.key] = cells.get(column.key) or Cell(missing=missing)
        row.cells[mean.key] = mean_cell([*cells.values()], 100 if percent else 1)
        add_paper(layout, row, comparable=table.section is not None and table.section.comparable)
    table.notes = list(layout.notes)
    if percent:
        table.notes.append(
            "Training time is from the seconds per step. For launches, run: python bench.py bench=latency"
        )
    devices = sorted({str(run.result.provenance.get("device")) for row in table.rows for run in row.all_runs})
    if len(devices) > 1:
        table.notes.append(
            f"The runs used {len(devices)} devices ({', '.join(devices)}). Ratios between devices are misleading."
        )
    if not any(cell.value is not None for row in table.rows for cell in row.cells.values()):
        table.notes.append(
            f"Times are ratios to {layout.labels[REFERENCE]}, which has no run. Train it with method={REFERENCE}."
        )


def mean_cell(cells: Sequence[Cell], scale: int) -> Cell:
    """Return the mean of the cells' values times ``scale``."""
    if not (values := [cell.value * scale for cell in cells if cell.value is not None]):
        return Cell(missing="no run")
    runs = [run for cell in cells for run in cell.runs]
    return Cell(float(np.mean(values)), runs, digits=0 if scale == 100 else 2)
