"""A cell of the page's tables, and the dialog that it opens: its runs and where its numbers come from."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from krona.messages import amount
from krona.report import text
from krona.report.formats.html.markup import escape, items, label, sentence, table
from krona.report.selection import StoredRun
from krona.report.table import Cell, Column, Row, Table
from krona.runs.constant_predictions import SIGN


def table_cell(cell: Cell, split: str, name: str) -> str:
    """Return a cell; name: the id of the dialog that it opens, if it has runs or a command."""
    if cell.value is None and not cell.missing:
        return "<td></td>"
    parts = []
    if seeds := text.seed_count(cell):
        spread = f"{text.spread(cell)}<br>" if text.spread(cell) else ""  # side by side, eight tasks do not fit 1400 px
        parts.append(f'<small class="spread">{spread}{seeds}</small>')
    if cell.test_interval:
        parts.append(f'<small title="{split} set, 95 %">{text.test_range(cell)}</small>')
    if cell.paper is not None:
        gap = text.difference(cell)
        parts.append(f'<small class="paper" title="the paper">{text.paper(cell)}{f" ({gap})" if gap else ""}</small>')
    shown = text.value(cell) + ("<span class='star' title='best'>★</span>" if cell.best else "")
    if cell.warned:
        why = escape(" ".join(text.cell_remarks(cell)))
        shown += f'<span class="warned" role="img" aria-label="warning" title="{why}">{SIGN}</span>'
    shown = f"<strong>{shown}</strong>" if cell.best or cell.tied else f"<span>{shown}</span>"
    value = "" if cell.value is None else f' data-value="{cell.value:.6g}"'
    inner = shown + "".join(parts)
    if has_dialog(cell):
        inner = f'<button type="button" popovertarget="{name}">{inner}</button>'
    return f"<td{value}>{inner}</td>"


def has_dialog(cell: Cell) -> bool:
    return bool(cell.runs or cell.command)


def dialog(shown: Table, row: Row, column: Column, name: str, base: Path) -> str:
    """Return the dialog of a cell; base: the folder that links to result.json start from."""
    cell = row.cells[column.key]
    parts = [f"<p>{sentence(' '.join(_facts(shown, column, cell)))}</p>"]
    parts += [f'<p class="caution">{escape(line)}</p>' for line in text.cell_remarks(cell)]
    parts += [f"<p>{sentence('To make it:', cell.command)}</p>"] if cell.command else []
    if cell.runs:
        heads = ["Seed", "Test", "Dev", "Best epoch", "Training s", "result.json"]
        parts.append(f"<h3>Runs</h3>{table('Runs', heads, (_run(run, base) for run in cell.runs))}")
        best = next((one.cells[column.key] for one in shown.rows if one.cells.get(column.key, Cell()).best), None)
        if column.kind == "task" and best is not None and best.runs and best is not cell:
            command = f"krona diff {best.runs[0].result.run_id} {cell.runs[0].result.run_id}"
            parts.append(f"<p>{sentence('Settings and predictions that differ from those of the best:', command)}</p>")
        made = dict.fromkeys(map(_made, cell.runs)) | dict.fromkeys(
            note for run in cell.runs for note in run.result.notes
        )
        parts.append(f"<h3>Where these numbers come from</h3>{items(map(escape, made))}")
    return (
        f'<dialog popover id="{name}" aria-labelledby="{name}-title"><header><h2 id="{name}-title">{label(row.label)}'
        f"{f' ({escape(row.differs)})' if row.differs else ''}, {escape(column.label)}</h2>"
        f'<button type="button" popovertarget="{name}" popovertargetaction="hide">Close</button></header>'
        f"{''.join(parts)}</dialog>\n"
    )


def _facts(shown: Table, column: Column, cell: Cell) -> Iterator[str]:
    if cell.value is not None:
        yield f"Mean {text.number(cell.value)} over {amount(len(cell.runs), 'run')}."
    if cell.seed_range:
        yield f"Its two seeds: {text.format_range(cell.seed_range)}."
    elif cell.interval:
        yield f"Over seeds (95 %, Student's t): {text.format_range(cell.interval)}."
    if cell.test_interval:
        split = shown.scored_on(column)
        yield f"Over {split} sets like this one (95 %, bootstrap): {text.format_range(cell.test_interval)}."
    if cell.paper is not None and cell.comparable:
        yield f"The paper: {cell.paper}."
    if cell.best:
        yield "Best of its column."
    if cell.p is not None:
        yield f"Against the best: p = {cell.p:.4f} (Holm){', not significantly different' if cell.tied else ''}."
    if cell.missing:
        yield f"Missing: {cell.missing}."


def _run(run: StoredRun, base: Path) -> list[str]:
    result, path = run.result, os.path.relpath(run.path.resolve(), base)
    scores = [text.NOTHING if (score := run.score(split)) is None else text.number(score) for split in ("test", "dev")]
    train = result.times.get("train")
    epoch = text.NOTHING if result.best_epoch is None else str(result.best_epoch)
    link = f'<a href="{quote(Path(path).as_posix())}">{escape(result.run_id)}</a>'
    return [str(result.seed), *scores, epoch, text.NOTHING if train is None else text.number(train, 0), link]


def _made(run: StoredRun) -> str:
    """Return code, machine and libraries of a run."""
    found = run.result.provenance
    versions = ", ".join(f"{name} {version}" for name, version in (found.get("versions") or {}).items())
    changed = " with uncommitted changes" if found.get("git_dirty") else ""
    threads = f", {amount(found['threads'], 'thread')}" if found.get("threads") else ""
    return (
        f"code {found.get('git_commit')}{changed}; {found.get('device')}{threads}; "
        f"backbone {found.get('backbone_fingerprint')}; {versions}"
    )
