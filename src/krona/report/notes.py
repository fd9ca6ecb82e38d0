"""Notes below a table: seeds, test sets, common settings, and the code and machine of its runs."""

from collections.abc import Sequence

from krona.messages import amount, first_few
from krona.paper import METHOD_LABELS, task_label
from krona.report.grouping import in_words
from krona.report.layouts import Layout
from krona.report.same_data import mixed
from krona.report.selection import StoredRun, asked_shape, used_shape
from krona.report.table import Table
from krona.report.text import unfinished_counts

TUNED = "recipe=tuned took "
MOST_TUNED = 12  # of such notes


def about_runs(layout: Layout, runs: Sequence[StoredRun]) -> list[str]:
    """Settings, fitted shapes, tuned settings, code and machine of these runs."""
    shapes = [] if layout.by_shape else _shapes_note(runs)
    return [*mixed(runs), *_head_note(runs), *_settings_note(runs), *shapes, *_tuned_notes(runs), _code_note(runs)]


def _tuned_notes(runs: Sequence[StoredRun]) -> list[str]:
    """The settings that recipe=tuned took from searches."""
    notes = dict.fromkeys(
        f"{METHOD_LABELS.get(run.result.method, run.result.method)} on {task_label(run.result.task)} took "
        f"{note.removeprefix(TUNED)}."
        for run in runs
        for note in run.result.notes
        if note.startswith(TUNED)
    )
    return first_few(list(notes), MOST_TUNED)


def about_chance(table: Table, tasks: list[str]) -> list[str]:
    """Limits of the scores: single or unequal seeds, cells without a paired test or a test-set interval."""
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
    untested = sum(not cell.best and cell.p is None for column in columns if len(column) > 1 for cell in column)
    if untested:
        count = amount(untested, "cell")
        notes.append(f"{count} could not be tested against the best of the column: no seed or no test set in common.")
    if any(cell.test_interval is None for cell in cells):
        why = "Without stored predictions, or on test sets that differ between seeds"
        notes.append(f"{why}, no test-set interval is given.")
    return notes


def _settings_note(runs: Sequence[StoredRun]) -> list[str]:
    """The main training settings of the runs that train."""
    training = {run.variant: run for run in runs if run.result.trainable_params != 0}.values() or list(runs)
    words = []
    for key, name in (
        ("trainer.max_epochs", "epochs"), ("trainer.max_steps", "step limit"), ("batch_size", "batch"),
        ("optimizer.warmup_steps", "warm-up steps"), ("data.train_rows", "training rows"),
        ("trainer.precision", "precision"),
    ):  # fmt: skip
        values = sorted({run.setting(key) or "null" for run in training}, key=lambda value: (len(value), value))
        if values not in (["null"], ["-1"]):
            words.append(f"{name} {' or '.join(in_words(key, value) for value in values[:4])}")
    return [f"Settings: {', '.join(words)}."] if words else []


def _head_note(runs: Sequence[StoredRun]) -> list[str]:
    """The size of a new head, which is no part of the parameters that are shown."""
    sizes = sorted({run.result.head_params for run in runs if run.result.head_params})
    shown = " or ".join(f"{size:,}" for size in sizes)
    return [f"Not in Params: the new head of {shown} parameters, which trains with every method."] if sizes else []


def _shapes_note(runs: Sequence[StoredRun]) -> list[str]:
    done = [run.result for run in runs if run.status == "done"]
    fitted = sorted({f"{asked} → {used_shape(result)}" for result in done if (asked := asked_shape(result))})
    return [f"Shapes of A on this backbone's layers, the paper's first: {', '.join(fitted)}."] if fitted else []


def _code_note(runs: Sequence[StoredRun]) -> str:
    done = [run for run in runs if run.status == "done"]
    commits = sorted({str(run.result.provenance.get("git_commit") or "unknown")[:10] for run in done or runs})
    dirty = sum(bool(run.result.provenance.get("git_dirty")) for run in done)
    devices = sorted({str(run.result.provenance.get("device")) for run in done or runs})
    changed = f", {dirty} with uncommitted changes" if dirty else ""
    code = f"{len(commits)} commits ({', '.join(commits[:3])})" if len(commits) > 1 else f"commit {commits[0]}"
    finished = f"{amount(len(done), 'finished run')} of {code}{changed}, on {', '.join(devices[:3])}."
    others = unfinished_counts(runs)
    return f"{finished} Not finished: {others}." if others else finished
