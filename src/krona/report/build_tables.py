"""Build the tables of a report, one for each section, so that no table contains runs on different kinds of data."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from krona.messages import amount
from krona.paper import ERRATA, TASKS, task_label, task_order
from krona.report import score_cells
from krona.report.costs import add_quantities, benchmark_tables, fill_times
from krona.report.grouping import group_runs, make_command, name_row, repeat_overrides
from krona.report.layouts import Layout
from krona.report.over_tasks import task_summary
from krona.report.run_notes import describe_limits, describe_runs, power_note
from krona.report.score_cells import score_cell, score_column
from krona.report.sections import Section, merge_sections
from krona.report.stored_runs import StoredRun, finished
from krona.report.table import AVERAGE, Cell, Column, Note, Row, Table

PRINTED = {"avg": "Avg", "params": "Params (%)", "latency": "Inference latency (%)", "training_time": "Training time"}


def build_tables(layout: Layout, runs: Sequence[StoredRun], folders: Sequence[Path]) -> tuple[list[Table], list[str]]:
    """Return the tables of a report, and a sentence for each benchmark's result that can't be used.

    In the report of Table 2, the first table shows the results of benchmarks in ``folders``.
    """
    by_section: dict[Section, list[StoredRun]] = defaultdict(list)
    for run in runs:
        # Tables of GLUE and of the sample data have the paper's columns. The user's own data have other columns.
        fits = not layout.tasks or run.section.kind == "own" or run.result.task.removeprefix("sample_") in layout.tasks
        if fits and layout.row(run.result) is not None:
            by_section[run.section].append(run)
    _join_uncounted(by_section)
    many = sum(map(len, by_section.values())) > score_cells.MOST_RUNS
    most_cells = score_cells.MOST_CELLS // len(by_section) if many else None
    tables, problems = benchmark_tables(layout, folders) if layout.name == "2" else ([], [])
    for section in sorted(by_section, key=lambda one: one.order):
        spent = sum(len(row.cells) for one in tables for row in one.rows)
        seeds = None if not many else score_cells.MOST_SEEDS if spent < score_cells.MOST_CELLS else 0
        split, scored, asides = _choose_split(layout, by_section[section])
        known = finished(by_section[section]) or by_section[section]
        whole = merge_sections([run.section for run in known])
        tables.append(_build_table(replace(layout, split=split), whole, scored, most_cells, seeds))
        tables[-1].other_notes += asides
    return tables, problems


def _join_uncounted(by_section: dict[Section, list[StoredRun]]) -> None:
    """Move sections without a run that recorded the size of its data to the section of data other than GLUE's."""
    for section in [one for one in by_section if one.whole]:
        known = any(run.status == "done" or run.result.provenance.get("official_rows") for run in by_section[section])
        if not known and (counted := replace(section, whole=False)) in by_section:
            by_section[counted] += by_section.pop(section)


def _choose_split(layout: Layout, runs: list[StoredRun]) -> tuple[str, list[StoredRun], list[Note]]:
    """Return the split whose scores are shown in a section, the runs with scores on it, and notes on the other runs.

    If some runs have test scores, the others are left out. If no run has test scores, as in a search for learning
    rates, the split is dev, except in a table of the paper.
    """
    scored = [run for run in runs if run.result.config.get("score_test", True)]
    if layout.split != "test" or layout.quantity != "score" or len(scored) == len(runs):
        return layout.split, runs, []
    if not scored:
        return "dev" if layout.paper is None else "test", runs, []
    count, sweeps = len(runs) - len(scored), sorted({run.sweep for run in runs if run.sweep and run not in scored})
    of = f" (sweep{'s' * (len(sweeps) != 1)} {', '.join(sweeps)})" if sweeps else ""
    command = shlex.join(["krona", "report", "--sweep", sweeps[0]]) if sweeps else ""
    text = f"This table leaves out {amount(count, 'run')} without test scores{of}."
    return "test", scored, [Note(text, command, "missing")]


def _build_table(
    layout: Layout, section: Section, runs: list[StoredRun], most_cells: int | None, seeds: int | None
) -> Table:
    # Show missing runs if the user wanted to make this table, but not if a run of another sweep only fits its rows.
    whole = section.comparable or any(run.sweep == layout.sweep for run in runs)
    shown = {run.result.task for run in runs}
    if section.comparable:  # runs on GLUE with another backbone or split need not cover all tasks
        shown |= {*layout.tasks}
    elif whole and section.kind == "sample":
        shown |= {f"sample_{task}" for task in layout.tasks}
    tasks = sorted(shown, key=task_order)
    rows, notes = group_runs(runs, layout, whole=whole)
    counts = Counter(row.key for row in rows if row.runs).values()  # number of settings of each method
    on_test = layout.split == "test"
    if layout.quantity == "score" and layout.paper is None and on_test and min(counts, default=0) > 1:
        layout = replace(layout, split="dev", beside="test", notes=(score_cells.CHOSEN, *layout.notes))
    elif on_test and max(counts, default=0) > 1:
        notes = [score_cells.AMONG, *notes]
    if most_cells is not None:
        columns = max(1, len(tasks)) * (2 if layout.beside else 1)
        most = max(score_cells.FEWEST_ROWS, most_cells // columns)
        rows, left_out = score_cells.best_rows(rows, layout.split, most=most, seeds=seeds or 0)
        notes = left_out + notes
    table = Table(layout.name, layout.title, section.heading, layout.axis, [], rows, section, split=layout.split)
    if layout.quantity == "score":
        if others := score_cells.label_other_training(rows, tasks):
            notes = [score_cells.OTHER_TRAINING, *notes]
            for row in others:
                name_row(layout, row)
        table.notes = [*layout.notes, *notes, *_fill_scores(layout, section, table, tasks, seeds)]
    else:
        table.notes = [*layout.notes, *fill_times(layout, table, tasks), *notes]
    if layout.paper and section.comparable:
        for row in rows:
            row.add_paper(layout.paper)
    table.notes += describe_runs(runs, shapes=not layout.by_shape)
    table.other_notes += [Note(line, kind="power") for line in power_note(table)]
    table.other_notes += [Note(line, kind="tasks") for line in task_summary(table)]
    return table


def _fill_scores(layout: Layout, section: Section, table: Table, tasks: list[str], seeds: int | None) -> list[str]:
    """Fill a table with scores, and return notes. Of each cell, ``seeds`` seeds are compared (None means all)."""
    rows = table.rows
    for row in rows:
        for task in tasks:
            cell = score_cell(row.runs.get(task, []), layout.split, seeds)
            row.cells[task] = cell or _missing_cell(layout, section, row, task, rows)
            if layout.beside:
                beside = score_cell(row.runs.get(task, []), layout.beside, seeds)
                row.cells[f"{task} {layout.beside}"] = beside or Cell(missing="")
    score_cells.mark_columns(rows, tasks, layout.split)
    if layout.average and len(tasks) > 1:
        score_cells.add_averages(rows, tasks, layout.split)
    table.columns = _score_columns(layout, section, tasks, rows)
    add_quantities(layout, table)
    notes = describe_limits(table, tasks)
    if layout.split == "dev" and layout.paper is None and layout.beside is None:
        notes.insert(0, "The scores are dev scores, because these runs were not scored on test.")
    return notes


def _score_columns(layout: Layout, section: Section, tasks: list[str], rows: list[Row]) -> list[Column]:
    split = " dev" if layout.split == "dev" else ""
    columns = []
    for task in tasks:
        columns.append(score_column(task, f"{task_label(task)}{split}", "task", rows))
        if layout.beside:
            other = f" {layout.beside}"
            columns.append(score_column(task + other, task_label(task) + other, "beside", rows))
    if layout.average and len(tasks) > 1:
        all_of_glue = section.kind == "glue" and section.whole and tuple(tasks) == TASKS
        label = "GLUE avg" if all_of_glue else f"Mean of {len(tasks)}"
        columns.append(Column(AVERAGE, f"{label}{split}", "average"))
    return columns


def _missing_cell(layout: Layout, section: Section, row: Row, task: str, rows: list[Row]) -> Cell:
    """Return a cell with the reason why there is no number, and the command that starts the missing runs."""
    if task in row.apart:
        return Cell(missing="in separate rows")
    runs = row.runs.get(task, [])
    states = {run.status: run for run in runs}
    if "running" in states:
        return Cell(missing=f"running, {states['running'].result.reached}", runs=runs)
    if "done" in states and "failed" not in states:
        return Cell(missing=f"no {layout.split} score", runs=runs)
    if layout.repeats_overrides:
        command = repeat_overrides(layout, row, task, [run for one in rows for run in one.runs.get(task, [])])
    else:
        command = make_command(layout, section, row, task)
    if "failed" in states:
        return Cell(missing="failed", command=command and f"{command} retry=failed", runs=runs)
    return Cell(missing="interrupted" if runs else "no run", command=command, runs=runs)


def paper_table(layout: Layout) -> Table | None:
    """Return a table of the paper's own numbers, or None if the layout is not a table of the paper."""
    if (paper := layout.paper) is None:
        return None
    keys = sorted(paper.columns, key=lambda key: (key != "params", task_order(key)))
    columns = [Column(key, PRINTED.get(key, task_label(key))) for key in keys]
    heading = "The printed numbers (T5-base, GLUE, single runs)"
    table = Table(layout.name, layout.title, heading, layout.axis, columns, [])
    digits = 0 if layout.quantity == "cost" else 2
    for key, values in paper.rows.items():
        cells = {name: Cell(value, digits=digits) for name, value in values.items()}
        table.rows.append(Row(key, layout.labels.get(key, key), cells))
    for (number, row), value in ERRATA.items():
        if number == layout.name:
            label, printed = layout.labels.get(row, row), paper.rows[row]["avg"]
            table.notes.append(f"The paper prints the average {printed:.2f} for {label}, but its scores give {value}.")
    if {"avg", *TASKS} <= set(paper.columns):
        which = "other" if table.notes else "paper's"
        table.notes.append(f"The {which} averages agree with the printed scores to 0.01. The paper rounds ties down.")
    return table
