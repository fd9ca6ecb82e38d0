"""Tables 2 and 8: latency, launches and training time, from the benches or from the runs themselves."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from krona.messages import KronaError
from krona.metrics.statistics import t_interval
from krona.paper import METHOD_LABELS, task_label
from krona.report.costs import seconds_a_step
from krona.report.grouping import Group, add_paper, named_row
from krona.report.layouts import Layout, row_order
from krona.report.sections import Section
from krona.report.selection import StoredRun
from krona.report.table import AVERAGE, Cell, Column, Row, Table, seed_range

REFERENCE = "full"
PAPERS = "t5_base"  # the benches' name of the paper's backbone


def relative_steps(groups: Sequence[Group], reference: str) -> list[dict[str, Cell]]:
    """For each row, task → seconds a step over the reference row's on that task; tasks without both are left out."""
    runs_of = next((one.runs for one in groups if one.key == reference and not one.differs), {})
    base = {task: [seconds for _, seconds in _timed(runs)] for task, runs in runs_of.items()}
    rows: list[dict[str, Cell]] = []
    for one in groups:
        cells = {}
        for task, runs in one.runs.items():
            if (found := _timed(runs)) and (over := base.get(task)):
                ratios = [seconds / float(np.mean(over)) for _, seconds in found]
                cells[task] = Cell(
                    float(np.mean(ratios)),
                    t_interval(ratios),
                    seed_range=seed_range(ratios),
                    runs=[run for run, _ in found],
                )
        rows.append(cells)
    return rows


def _timed(runs: Sequence[StoredRun]) -> list[tuple[StoredRun, float]]:
    return [(run, seconds) for run in runs if (seconds := seconds_a_step(run)) is not None]


def read_bench(path: Path) -> dict[str, Any]:
    """A bench's JSON, checked for what is used of it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for row in content["rows"]:
            ratio = row["ratio_to_full"]  # null where full was not among the contestants
            str(row["name"]), None if ratio is None else float(ratio)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise KronaError(
            f"{path} is not a bench's result: {type(error).__name__}: {error}; run bench.py anew"
        ) from error
    return dict(content)


def bench_table(layout: Layout, benches: dict[str, dict[str, Any]]) -> Table:
    """Table 2 from ``latency`` and ``training`` benches."""
    by_name = {kind: {row["name"]: row for row in bench["rows"]} for kind, bench in benches.items()}
    columns = [
        Column("latency", "Inference latency (%)", "time"),
        Column("launches", "Launches added", "launches"),
        Column("training_time", "Training time (%)", "time"),
    ]
    others = {kind: name for kind, bench in benches.items() if (name := _backbone_of(bench)) != PAPERS}
    machines = " and ".join(dict.fromkeys(_machine_name(bench.get("machine")) for bench in benches.values()))
    table = Table(layout.name, layout.title, f"Bench on {machines}", layout.axis, columns, [])
    names = {*layout.rows, *(name for rows in by_name.values() for name in rows)}
    for name in sorted(names, key=lambda one: row_order(layout, one)):
        row = Row(name, METHOD_LABELS.get(name, name))
        for column, kind in (("latency", "latency"), ("training_time", "training")):
            row.cells[column] = _bench_cell(by_name.get(kind, {}).get(name), kind, layout, name, column)
            row.cells[column].comparable = row.cells[column].value is not None and kind not in others
        added = by_name.get("latency", {}).get(name, {}).get("launches_added")
        row.cells["launches"] = Cell(added, digits=0) if added is not None else Cell(missing="not counted")
        table.rows.append(row)
    table.notes = [*layout.notes, "Latency: batch 1, length 10; launches added are the same measure without a GPU."]
    table.notes += [
        f"bench={kind} ran on {name}, the paper's numbers are for {PAPERS}: no difference is shown."
        for kind, name in others.items()
    ]
    return table


def _backbone_of(bench: dict[str, Any]) -> str:
    """A file of conf/backbone; the benches' default where the JSON names none."""
    options = (bench.get("settings") or {}).get("options") or {}
    return str(options.get("backbone", PAPERS))


def _bench_cell(found: dict[str, Any] | None, kind: str, layout: Layout, name: str, column: str) -> Cell:
    paper = layout.paper.value(name, column) if layout.paper else None
    if found is None or found["ratio_to_full"] is None:
        why = "not measured" if found is None else "measured without full"
        return Cell(paper=paper, missing=why, command=f"python bench.py bench={kind}")
    return Cell(100 * float(found["ratio_to_full"]), paper=paper, digits=0)


def _machine_name(machine: Any) -> str:
    if isinstance(machine, dict):
        known = [str(machine[key]) for key in ("device", "name", "cpu", "threads") if machine.get(key) is not None]
        return ", ".join(known) or "an unnamed machine"
    return str(machine or "an unnamed machine")


def time_table(layout: Layout, section: Section, groups: Sequence[Group], tasks: Sequence[str]) -> Table:
    """Table 8, or the training half of Table 2, from the runs' own times."""
    percent = layout.name == "2"
    wanted = [] if percent else [Column(task, task_label(task), "time") for task in tasks]
    last = Column("training_time", "Training time (%)", "time") if percent else Column(AVERAGE, "Mean", "time")
    table = Table(layout.name, layout.title, section.heading, layout.axis, [*wanted, last], [], section)
    for one, cells in zip(groups, relative_steps(groups, REFERENCE), strict=True):
        row = named_row(layout, one)
        for column in wanted:
            lacks = "no run" if not one.runs.get(column.key) else f"no {REFERENCE} run to compare with"
            row.cells[column.key] = cells.get(column.key) or Cell(missing=lacks)
        row.cells[last.key] = mean_cell(list(cells.values()), 100 if percent else 1)
        add_paper(layout, one, row, comparable=section.comparable)
        table.rows.append(row)
    table.notes = list(layout.notes)
    if percent:
        table.notes.append("Training time: the runs' own, seconds a step. Launches: python bench.py bench=latency")
    runs = [run for one in groups for found in one.runs.values() for run in found]
    devices = sorted({str(run.result.provenance.get("device")) for run in runs})
    if len(devices) > 1:
        table.notes.append(f"Runs of {len(devices)} devices ({', '.join(devices)}): ratios across them mislead.")
    if not any(cell.value is not None for row in table.rows for cell in row.cells.values()):
        table.notes.append(
            f"Times are ratios to {layout.labels[REFERENCE]}, and no such run is here: method={REFERENCE}"
        )
    return table


def mean_cell(cells: list[Cell], scale: int) -> Cell:
    if not (values := [cell.value * scale for cell in cells if cell.value is not None]):
        return Cell(missing="no run")
    runs = [run for cell in cells for run in cell.runs]
    return Cell(float(np.mean(values)), runs=runs, digits=0 if scale == 100 else 2)
