"""Tables of runs: one a section, so that GLUE, sample data, own data and random weights never mix."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from krona.messages import amount
from krona.paper import ERRATA, TASKS, task_label, task_order
from krona.report import cells, times
from krona.report.cells import metric_label, score_cell
from krona.report.costs import QUANTITIES, quantity_cell, same_digits
from krona.report.grouping import Group, add_paper, group, named_row
from krona.report.layouts import Layout, section_tasks
from krona.report.notes import about_chance, about_runs, power_note
from krona.report.sections import Section, of_table
from krona.report.selection import StoredRun
from krona.report.table import AVERAGE, Cell, Column, Row, Table

PRINTED = {"avg": "Avg", "params": "Params (%)", "latency": "Inference latency (%)", "training_time": "Training time"}


def build_tables(layout: Layout, runs: Sequence[StoredRun]) -> list[Table]:
    """A table for each section that has a run of this layout; none where no run belongs to it."""
    by_section: dict[Section, list[StoredRun]] = defaultdict(list)
    for run in runs:
        # GLUE's and the sample's columns are the paper's; the user's own data have their own.
        fits = not layout.tasks or run.section.kind == "own" or run.result.task.removeprefix("sample_") in layout.tasks
        if fits and layout.row(run) is not None:
            by_section[run.section].append(run)
    _join_uncounted(by_section)
    many = sum(map(len, by_section.values())) > cells.MOST_RUNS
    most_cells = cells.MOST_CELLS // len(by_section) if many else None
    tables = []
    for section in sorted(by_section, key=lambda one: one.order):
        split, scored, aside = _scored_on(layout, by_section[section])
        known = [run for run in by_section[section] if run.status == "done"] or by_section[section]
        whole = of_table([run.section for run in known])
        tables.append(_table(replace(layout, split=split), whole, scored, most_cells))
        tables[-1].asides += aside
    return tables


def _join_uncounted(by_section: dict[Section, list[StoredRun]]) -> None:
    """Move runs that have not come to count GLUE's rows to those of their backbone that found others."""
    for section in [one for one in by_section if one.whole]:
        known = any(run.status == "done" or run.result.provenance.get("official_rows") for run in by_section[section])
        if not known and (counted := replace(section, whole=False)) in by_section:
            by_section[counted] += by_section.pop(section)


def _scored_on(layout: Layout, runs: list[StoredRun]) -> tuple[str, list[StoredRun], list[tuple[str, str]]]:
    """The split of a section's scores, its runs that have them, and a note on the others with the command for them.

    Dev where no run scores test, as in a search for learning rates; else a search's runs are left out of the table.
    """
    scored = [run for run in runs if run.result.config.get("score_test", True)]
    if layout.split != "test" or layout.quantity != "score" or len(scored) == len(runs):
        return layout.split, runs, []
    if not scored:
        return "dev" if layout.paper is None else "test", runs, []
    count, sweeps = len(runs) - len(scored), sorted({run.sweep for run in runs if run.sweep and run not in scored})
    of = f" (sweep{'s' * (len(sweeps) != 1)} {', '.join(sweeps)})" if sweeps else ""
    command = shlex.join(["krona", "report", "--sweep", sweeps[0]]) if sweeps else ""
    return "test", scored, [(f"{amount(count, 'run')} on dev alone left out{of}.", command)]


def _table(layout: Layout, section: Section, runs: list[StoredRun], most_cells: int | None) -> Table:
    # What the table lacks is shown where it was meant to be made, not where a run of another sweep fits its rows.
    whole = section.comparable or any(run.sweep == layout.sweep for run in runs)
    # Another backbone or split on GLUE's files is a part of the table on purpose: the tasks that it has.
    all_tasks = whole and (section.comparable or section.kind != "glue")
    tasks = section_tasks(layout, section.kind, sorted({run.result.task for run in runs}), whole=all_tasks)
    groups, notes = group(runs, layout, whole=whole)
    counts = Counter(one.key for one in groups if one.runs).values()  # settings of each method
    on_test = layout.split == "test"
    if layout.quantity == "score" and layout.paper is None and on_test and min(counts, default=0) > 1:
        layout = replace(layout, split="dev", beside="test", notes=(cells.CHOSEN, *layout.notes))
    elif on_test and max(counts, default=0) > 1:
        notes = [cells.AMONG, *notes]
    if most_cells is not None:
        rows = max(cells.FEWEST_ROWS, most_cells // max(1, len(tasks)))
        groups, left = cells.best_groups(groups, layout.split, rows=rows)
        notes = left + notes
    seeds = None if most_cells is None else cells.MOST_SEEDS
    if layout.quantity != "score":
        table = times.time_table(layout, section, groups, tasks)
        table.notes += notes
    else:
        table = _score_table(layout, section, groups, tasks, seeds=seeds)
        table.notes = [*layout.notes, *notes, *table.notes]
    table.notes += [*about_runs(layout, runs), *power_note(table, seeds)]
    return table


def _score_table(
    layout: Layout, section: Section, groups: list[Group], tasks: list[str], *, seeds: int | None
) -> Table:
    """``seeds``: so many of a cell are resampled and compared; None: all."""
    scored = [{task: score_cell(one.runs.get(task, []), layout.split, seeds) for task in tasks} for one in groups]
    averages = cells.marked(layout, groups, tasks, scored)
    with_average = layout.average and len(tasks) > 1

    table = Table(layout.name, layout.title, section.heading, layout.axis, [], [], section, split=layout.split)
    beside = [Column(name, QUANTITIES[name].heading, name) for name in layout.extras]
    table.columns = [c for c in beside if c.key == "params"]
    split = f" {layout.split}" if layout.beside else ""
    for task in tasks:
        metric = metric_label(next((row[task] for row in scored if row[task]), None))
        table.columns.append(Column(task, f"{task_label(task)}{split}", metric=metric))
        if other_split := layout.beside:
            label = f"{task_label(task)} {other_split}"
            table.columns.append(Column(f"{task} {other_split}", label, "beside", metric))
    if with_average:  # only all eight tasks of GLUE are its average
        label = (
            "GLUE avg"
            if section.kind == "glue" and section.whole and tuple(tasks) == TASKS
            else f"Mean of {len(tasks)}"
        )
        table.columns.append(Column(AVERAGE, f"{label}{split}", "average"))
    table.columns += [c for c in beside if c.key != "params"]
    for i, one in enumerate(groups):
        row = named_row(layout, one)
        for task in tasks:
            found = scored[i][task]
            row.cells[task] = found.cell if found else _missing(layout, section, one, task)
            if layout.beside:
                other = score_cell(one.runs.get(task, []), layout.beside, seeds)
                row.cells[f"{task} {layout.beside}"] = other.cell if other else Cell(missing="")
        if with_average:
            lacking = [task_label(task) for task in tasks if scored[i][task] is None]
            row.cells[AVERAGE] = averages[i].cell if i in averages else Cell(missing=f"without {', '.join(lacking)}")
        table.rows.append(row)
    relative = times.relative_steps(groups, layout.rows[0]) if layout.name == "7" else []
    for i, (one, row) in enumerate(zip(groups, table.rows, strict=True)):
        runs = [run for found in one.runs.values() for run in found]
        for name in layout.extras:
            row.cells[name] = times.mean_cell([*relative[i].values()], 1) if relative else quantity_cell(name, runs)
        add_paper(layout, one, row, comparable=section.comparable)
    for name in layout.extras:
        known = [row.cells[name] for row in table.rows if row.cells[name].value is not None]
        if not known and not QUANTITIES[name].always:
            table.columns = [column for column in table.columns if column.key != name]
        if QUANTITIES[name].same_digits:
            digits = same_digits(cell.value for cell in known)
            for cell in known:
                cell.digits = digits
    table.notes = about_chance(table, tasks)
    if layout.split == "dev" and layout.paper is None and layout.beside is None:
        table.notes.insert(0, "Dev scores: these runs do not look at the test set.")
    return table


def _missing(layout: Layout, section: Section, one: Group, task: str) -> Cell:
    """Why there is no number, and the command that makes it."""
    if task in one.apart:
        return Cell(missing="in rows of its own")
    runs = one.runs.get(task, [])
    asked = any(key.startswith(("backbone.", "data.")) for key in one.differs)
    own = runs or ([one.first] if asked and one.first else [])  # else as the table's other runs
    chosen = of_table([run.section for run in own]) if own else section
    words = [*layout.command.split(), *chosen.overrides, *layout.override(one.key), f"task={task}"]
    for key, value in one.differs.items():
        if " " not in key and not key.startswith(("backbone.", "data.")):  # a setting, not a file's content or chosen
            words.append(f"factors={value}" if key == "method.kron_factors" else f"{key}={value}")
    states = {run.status: run for run in runs}
    if "running" in states:
        return Cell(missing=f"running, {states['running'].result.reached}", runs=runs)
    seeds = sorted({run.result.seed for run in runs if run.status in ("failed", "interrupted")})
    words += [f"seed={','.join(map(str, seeds))}"] if seeds not in ([], [0]) else []
    if "failed" in states:
        return Cell(missing="failed", command=shlex.join([*words, "retry=failed"]), runs=runs)
    if "done" in states:
        return Cell(missing=f"no {layout.split} score", runs=runs)
    return Cell(missing="interrupted" if runs else "no run", command=shlex.join(words), runs=runs)


def paper_table(layout: Layout) -> Table | None:
    """The paper's own numbers, for a report without comparable runs."""
    if (paper := layout.paper) is None:
        return None
    columns = [Column(key, PRINTED.get(key, task_label(key))) for key in sorted(paper.columns, key=_paper_order)]
    heading = "The paper's numbers (T5-base, GLUE, single runs)"
    table = Table(layout.name, layout.title, heading, layout.axis, columns, [])
    for key, values in paper.rows.items():
        digits = dict.fromkeys(values, 0 if layout.quantity == "cost" else 2)
        cells = {name: Cell(value, digits=digits[name]) for name, value in values.items()}
        table.rows.append(Row(key, layout.labels.get(key, key), cells))
    for (number, row), value in ERRATA.items():
        if number == layout.name:
            table.notes.append(
                f"{layout.labels.get(row, row)}'s printed average {paper.rows[row]['avg']:.2f} is {value} by its row."
            )
    if {"avg", *TASKS} <= set(paper.columns):
        which = "other" if table.notes else "paper's"
        table.notes.append(f"The {which} averages come out of their rows to 0.01; ties are cut, not rounded.")
    return table


def _paper_order(key: str) -> tuple[int, Any]:
    return (0, 0) if key == "params" else (1, task_order(key)) if key in TASKS else (2, key)
