"""Build the HTML of a table, and of the runs behind its rows with the commands that use their weights."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from krona.formatting import NOTHING
from krona.messages import amount
from krona.report.formats.html.markup import escape, folded, items, label, note, scroll
from krona.report.notes import Note, best_run, cell_remarks, run_commands
from krona.report.stored_runs import StoredRun
from krona.report.table import Cell, Column, Row, Table
from krona.report.wording import cell_details, cell_mark, cell_value, number, paper_lines
from krona.runs.suspicious_scores import SIGN


def table_of_rows(table: Table, columns: Sequence[Column], place: int) -> str:
    """Return the HTML of a sortable table. ``place`` is the number of the table on the page."""
    names = [(table.axis, []), *((column.label, column.details) for column in columns)]
    heads = ""
    for i, (name, details) in enumerate(names):
        small = "".join(f" <small>{escape(line)}</small>" for line in details)
        button = f'<button type="button" data-sort="{i}">{escape(name)}{small}<span aria-hidden="true"></span></button>'
        heads += f'<th scope="col">{button}</th>'
    rows = []
    for i, row in enumerate(table.rows):
        differs = f"<small>{escape(row.differs).replace('=', '=<wbr>')}</small>" if row.differs else ""
        cells = "".join(_cell(row.cell(column.key)) for column in columns)
        rows.append(f'<tr><th scope="row" data-value="{i}">{label(row.label)}{differs}</th>{cells}</tr>')
    body = "\n".join(rows)
    return scroll(
        table.heading, f'<table data-table="{place}"><thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
    )


def _cell(cell: Cell) -> str:
    if cell.value is None and not cell.missing:
        return "<td></td>"
    shown = cell_value(cell) + f'<span class="star">{cell_mark(cell).strip(SIGN)}</span>'
    if cell.warned:
        why = escape(" ".join(cell_remarks(cell)))
        shown += f'<span class="warned" role="img" aria-label="warning" title="{why}">{SIGN}</span>'
    shown = f"<strong>{shown}</strong>" if cell.best or cell.tied else shown
    details = [*cell_details(cell), *paper_lines(cell)]
    value = "" if cell.value is None else f' data-value="{cell.value:.6g}"'
    told = [cell.missing or "", f"p against the best: {cell.p:.4f} (Holm)" if cell.p is not None else ""]
    title = f' title="{escape("".join(told))}"' if any(told) else ""
    return f"<td{value}{title}>{shown}{''.join(f'<small>{line}</small>' for line in details)}</td>"


def runs_of_rows(table: Table, base: Path) -> str:
    """Return the HTML of the runs of a table: the best run of each row and task, all runs, and their provenance.

    The links to result.json files are relative to the folder ``base``.
    """
    best = items(line for row in table.rows for line in _best_runs(table, row))
    if not best:
        return ""
    heads = ["Row", "Task", "Seed", "Test", "Dev", "Best epoch", "Training s", "result.json"]
    runs = {run.result.run_id: (row, run) for row in table.rows for cell in row.cells.values() for run in cell.runs}
    lines = [[f"{label(row.label)} {escape(row.differs)}", *_run(run, base)] for row, run in runs.values()]
    made = dict.fromkeys(_provenance(run) for _, run in runs.values())
    made |= dict.fromkeys(note for _, run in runs.values() for note in run.result.notes)
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    every = f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    content = f"<h3>Best runs by their dev scores</h3>{best}<h3>All runs</h3>{scroll('Runs', every)}"
    content += f"<h3>Where these numbers come from</h3>{items(map(escape, made))}"
    return folded("Runs, and the commands that use their weights", content)


def _best_runs(table: Table, row: Row) -> Iterator[str]:
    """Yield the row's best run on each task, with commands to use its weights and to compare it with the best row."""
    for column in (column for column in table.columns if column.kind == "task"):
        run = best_run(row.cell(column.key))
        if run is None:
            continue
        notes = [Note(f"{row.name} on {column.label}: {run.result.run_id}"), *run_commands(run.path.parent, run.result)]
        best = next((one.cell(column.key) for one in table.rows if one.cell(column.key).best), None)
        other = best_run(best) if best is not None and best is not row.cell(column.key) else None
        if other is not None:
            notes.append(Note("Compare with the best row:", f"krona diff {other.result.run_id} {run.result.run_id}"))
        yield "<br>".join(map(note, notes))


def _run(run: StoredRun, base: Path) -> list[str]:
    result, path = run.result, os.path.relpath(run.path.resolve(), base)
    scores = [NOTHING if (score := run.score(split)) is None else number(score) for split in ("test", "dev")]
    train = result.times.get("train")
    epoch = NOTHING if result.best_epoch is None else str(result.best_epoch)
    link = f'<a href="{quote(Path(path).as_posix())}">{escape(result.run_id)}</a>'
    seconds = NOTHING if train is None else number(train, 0)
    return [escape(result.task), str(result.seed), *scores, epoch, seconds, link]


def _provenance(run: StoredRun) -> str:
    """Return the code, machine, backbone and libraries of a run as text."""
    found = run.result.provenance
    versions = ", ".join(f"{name} {version}" for name, version in (found.get("versions") or {}).items())
    changed = " with uncommitted changes" if found.get("git_dirty") else ""
    threads = f", {amount(found['threads'], 'thread')}" if found.get("threads") else ""
    return (
        f"code {found.get('git_commit')}{changed}; {found.get('device')}{threads}; "
        f"backbone {found.get('backbone_fingerprint')}; {versions}"
    )
