"""From runs to tables: one a section, so that GLUE, sample data, own data and random weights never mix."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from krona.report import costs
from krona.report.cells import PairedTests, average, score_cell
from krona.report.grouping import Group, group
from krona.report.layouts import Layout, section_tasks
from krona.report.model import AVERAGE, Cell, Column, Row, Table
from krona.report.paper import ERRATA, TASKS, task_label, task_order
from krona.report.ranks import update_rank
from krona.report.selection import Run, Section

EXTRAS = {"params": "Params (%)", "rank": "Rank", "time": "Training (s)"}


def build_tables(layout: Layout, runs: Sequence[Run]) -> list[Table]:
    """A table for each section that has a run of this layout; none where no run belongs to it."""
    by_section: dict[Section, list[Run]] = defaultdict(list)
    for run in runs:
        if layout.row(run) is not None and _column_fits(layout, run):
            by_section[run.section].append(run)
    return [_table(layout, section, by_section[section]) for section in sorted(by_section, key=lambda s: s.order)]


def _column_fits(layout: Layout, run: Run) -> bool:
    """GLUE's and the sample's columns are the paper's; one's own data have their own."""
    return not layout.tasks or run.section.kind == "own" or run.result.task.removeprefix("sample_") in layout.tasks


def _table(layout: Layout, section: Section, runs: list[Run]) -> Table:
    # What the table lacks is shown where it was meant to be made, not where a run of another sweep fits its rows.
    whole = section.comparable or any(run.sweep == layout.sweep for run in runs)
    # Another backbone or split on GLUE's files is a part of the table on purpose: the tasks that it has.
    all_tasks = whole and (section.comparable or section.kind != "glue")
    tasks = section_tasks(layout, section.kind, sorted({run.result.task for run in runs}), whole=all_tasks)
    groups, notes = group(runs, layout, whole=whole)
    if layout.quantity != "score":
        table = costs.time_table(layout, section, groups, tasks)
        table.notes += notes
    else:
        table = _score_table(layout, section, groups, tasks)
        table.notes = [*layout.notes, *notes, *table.notes]
    table.notes += [*_settings_note(runs), *_code_note(runs)]
    return table


def _score_table(layout: Layout, section: Section, groups: list[Group], tasks: list[str]) -> Table:
    scored = [{task: score_cell(one.runs.get(task, []), layout.split) for task in tasks} for one in groups]
    tests = PairedTests()
    for place, task in enumerate(tasks):
        tests.mark_best([cell for row in scored if (cell := row[task]) is not None], seed=place)
    whole = [[cell for cell in row.values() if cell is not None] for row in scored]
    with_average = layout.average and len(tasks) > 1
    averages = {i: average(parts) for i, parts in enumerate(whole) if with_average and len(parts) == len(tasks)}
    tests.mark_best_average(list(averages.values()), [whole[i] for i in averages])

    table = Table(layout.name, layout.title, section.heading, layout.axis, [], [], section)
    columns = [Column(task, task_label(task)) for task in tasks]
    extras = [Column(name, EXTRAS[name], name) for name in layout.extras]
    table.columns = [c for c in extras if c.key == "params"] + columns
    if with_average:
        table.columns.append(Column(AVERAGE, _average_label(section, tasks), "average"))
    table.columns += [c for c in extras if c.key != "params"]
    for i, one in enumerate(groups):
        row = Row(f"{one.key} {one.suffix}".strip(), layout.labels.get(one.key, one.key), differs=one.suffix)
        for task in tasks:
            found = scored[i][task]
            row.cells[task] = found.cell if found else _missing(layout, section, one, task)
        if with_average:
            lacking = [task_label(task) for task in tasks if scored[i][task] is None]
            row.cells[AVERAGE] = averages[i].cell if i in averages else Cell(missing=f"without {', '.join(lacking)}")
        _add_paper(layout, section, one, row)
        table.rows.append(row)
    _add_extras(layout, section, groups, table)
    table.notes = _chance_notes(table, tasks)
    if layout.split == "dev" and layout.paper is None:
        table.notes.insert(0, "Dev scores: these runs do not look at the test set.")
    return table


def _average_label(section: Section, tasks: list[str]) -> str:
    """Only all eight tasks of GLUE are its average."""
    return "GLUE avg" if section.kind == "glue" and tuple(tasks) == TASKS else f"Mean of {len(tasks)}"


def _add_paper(layout: Layout, section: Section, one: Group, row: Row) -> None:
    if layout.paper is None or not section.comparable or one.differs:
        return
    for key, cell in row.cells.items():
        cell.paper, cell.comparable = layout.paper.value(one.key, key), True


def _missing(layout: Layout, section: Section, one: Group, task: str) -> Cell:
    """Why there is no number, and what to type for one."""
    runs = one.runs.get(task, [])
    words = [layout.command, *section.typed, *layout.override(one.key), f"task={task}"]
    for key, value in one.differs.items():
        if " " not in key:  # what is typed, not what a file holds
            words.append(f"factors={value}" if key == "method.kron_factors" else f"{key}={value}")
    if any(run.result.status == "running" for run in runs):
        progress = next(run.result.progress for run in runs if run.result.status == "running")
        return Cell(missing=f"running, epoch {progress.get('epoch', 0)} of {progress.get('epochs', '?')}", runs=runs)
    failed = next((run for run in runs if run.result.status == "failed"), None)
    if failed is not None:
        return Cell(missing="failed", command=" ".join([*words, "retry=failed"]), runs=runs)
    if any(run.result.status == "done" for run in runs):
        return Cell(missing=f"no {layout.split} score", runs=runs)
    return Cell(missing="interrupted" if runs else "no run", command=" ".join(words), runs=runs)


def _add_extras(layout: Layout, section: Section, groups: list[Group], table: Table) -> None:
    relative = costs.relative_steps(groups, layout.rows[0]) if layout.name == "7" else []
    for i, (one, row) in enumerate(zip(groups, table.rows, strict=True)):
        runs = [run for found in one.runs.values() for run in found]
        for name in layout.extras:
            cell = costs.mean_cell(list(relative[i].values()), 1) if relative else _extra(name, runs)
            if layout.paper is not None and section.comparable and not one.differs:
                cell.paper = layout.paper.value(one.key, "training_time" if name == "time" else name)
                cell.comparable = name == "time"
            row.cells[name] = cell


def _extra(name: str, runs: list[Run]) -> Cell:
    value: Any = None
    if name == "params":
        values = {run.result.trainable_percent for run in runs if run.result.trainable_percent is not None}
        value = max(values) if values else None
    elif name == "rank":
        values = {rank for run in runs if (rank := update_rank(run.result)) is not None}
        value = max(values) if values else None
    else:
        value = costs.mean_seconds(runs)
    digits = {"params": -3, "rank": 0, "time": 0}[name]
    return Cell(missing="") if value is None else Cell(value, digits=digits)


def _chance_notes(table: Table, tasks: list[str]) -> list[str]:
    cells = [row.cells[task] for row in table.rows for task in tasks if row.cells[task].value is not None]
    if not cells:
        return []
    notes = []
    sizes = sorted({len(cell.seeds) for cell in cells})
    if sizes == [1]:
        notes.append("One seed each: no interval over seeds can be given.")
    elif len(sizes) > 1:
        notes.append(f"Cells have {sizes[0]} to {sizes[-1]} seeds; the paired test uses those that both methods have.")
    columns = [[row.cells[task] for row in table.rows if row.cells[task].value is not None] for task in tasks]
    untested = sum(not cell.best and cell.p is None for column in columns for cell in column)
    if untested:
        notes.append(
            f"{untested} cells could not be tested against their column's best: no seed or no test set in common."
        )
    if any(cell.test_interval is None for cell in cells):
        notes.append(
            "Without stored predictions, or on test sets that differ between seeds, no test-set interval is given."
        )
    return notes


def _settings_note(runs: Sequence[Run]) -> list[str]:
    """What the runs have in common that moves their numbers."""
    words = []
    for key, name in (
        ("trainer.max_epochs", "epochs"), ("trainer.max_steps", "max steps"), ("batch_size", "batch"),
        ("optimizer.warmup_steps", "warm-up"), ("data.train_rows", "training rows"), ("trainer.precision", "precision"),
    ):  # fmt: skip
        values = sorted({run.settings.get(key, "null") for run in runs})
        if values not in (["null"], ["-1"]):
            words.append(f"{name} {values[0] if len(values) == 1 else ' or '.join(values[:4])}")
    return [f"Settings: {', '.join(words)}."] if words else []


def _code_note(runs: Sequence[Run]) -> list[str]:
    commits = sorted({str(run.result.provenance.get("git_commit"))[:10] for run in runs})
    dirty = sum(bool(run.result.provenance.get("git_dirty")) for run in runs)
    devices = sorted({str(run.result.provenance.get("device")) for run in runs})
    changed = f", {dirty} with uncommitted changes" if dirty else ""
    code = f"{len(commits)} commits ({', '.join(commits[:3])})" if len(commits) > 1 else f"commit {commits[0]}"
    return [f"{len(runs)} run{'s' * (len(runs) != 1)} of {code}{changed}, on {', '.join(devices[:3])}."]


def paper_table(layout: Layout) -> Table | None:
    """The paper's own numbers, for where ours can't stand beside them."""
    if layout.paper is None:
        return None
    paper = layout.paper
    labels = {
        "avg": "Avg",
        "params": "Params (%)",
        "latency": "Inference latency (%)",
        "training_time": "Training time",
    }
    columns = [Column(key, labels.get(key, task_label(key))) for key in sorted(paper.columns, key=_paper_order)]
    table = Table(
        layout.name, layout.title, "The paper's numbers (T5-base, GLUE, single runs)", layout.axis, columns, []
    )
    for key, values in paper.rows.items():
        table.rows.append(
            Row(
                key,
                layout.labels.get(key, key),
                {name: _printed(layout, name, value) for name, value in values.items()},
            )
        )
    for (number, row), value in ERRATA.items():
        if number == layout.name:
            table.notes.append(
                f"{layout.labels.get(row, row)}'s printed average {paper.rows[row]['avg']:.2f} is {value} by its row."
            )
    if "avg" in paper.columns and all(task in paper.columns for task in TASKS):
        which = "other" if table.notes else "paper's"
        table.notes.append(f"The {which} averages come out of their rows to 0.01; ties are cut, not rounded.")
    return table


def _printed(layout: Layout, column: str, value: float) -> Cell:
    return Cell(value, digits=0 if layout.quantity == "cost" else -3 if column == "params" else 2)


def _paper_order(key: str) -> tuple[int, Any]:
    return (0, 0) if key == "params" else (1, task_order(key)) if key in TASKS else (2, key)
