"""Notes below a table: seeds, settings, code and machine of its runs, and the smallest difference that it can show."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

import numpy as np

from krona.messages import amount, first_few
from krona.metrics.answers import Answers
from krona.metrics.power import LEVEL, POWER, fewest_examples
from krona.metrics.statistics import swap_test
from krona.paper import METHOD_LABELS, task_label
from krona.report.grouping import apart, differs, in_words, mixed
from krona.report.layouts import Layout, asked_shape, used_shape
from krona.report.selection import StoredRun
from krona.report.table import Cell, Table
from krona.report.text import number, unfinished_counts
from krona.runs.studies import Study, Trial

STATES = ("finished", "pruned", "failed", "running")  # of trials
TUNED = "recipe=tuned took "
MOST_TUNED = 12  # of such notes
SWAPS = 400  # they tell the spread of the null differences to 4 %
POWER_NOTE = "The test finds these differences four times out of five, smaller ones less often"


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


def power_note(table: Table, seeds: int | None = None) -> list[str]:
    """Return a note on each task's smallest difference that can be seen; none where the table has no paired test.

    seeds: so many of a cell were compared; None: all.
    """
    found = []
    for column in (column for column in table.columns if column.kind == "task"):
        cells = [row.cells[column.key] for row in table.rows if column.key in row.cells]
        if (least := _least(cells, table.split, seeds)) is not None:
            points, examples, common = least
            counts = f"{amount(examples, 'example')}, {amount(common, 'seed')}"
            found.append(f"{task_label(column.key)} {number(points)} ({counts})")
    return [f"{POWER_NOTE} (paired test, level 5 %, Holm over the column): {', '.join(found)}."] if found else []


def _least(cells: list[Cell], split: str, seeds: int | None) -> tuple[float, int, int] | None:
    """Points, examples and common seeds of the median pair of the best cell and another.

    A difference is found with a power of 80 % at (z of the level + 0.84) · the spread of the test's null differences;
    of classes never below the fewest examples that can give the level. The level is Holm's first, 5 % / pairs.
    """
    from scipy.special import ndtri

    best = next((cell for cell in cells if cell.best), None)
    others = [cell for cell in cells if cell.p is not None]
    if best is None or not others:
        return None
    level = LEVEL / len(others)
    times = float(ndtri(1 - level / 2) + ndtri(POWER))
    one, found = _answers(best, split, seeds), list[tuple[float, int, int]]()
    for cell in others:
        other = _answers(cell, split, seeds)
        common = sorted(one.keys() & other.keys())
        if not common:
            continue
        a, b = ([side[seed] for seed in common] for side in (one, other))
        spread = float(np.std(swap_test(a, b, best.runs[0].metrics, swaps=SWAPS).null))
        floor = 100 * fewest_examples(level) / len(a[0]) if a[0].classes else 0.0
        if spread and math.isfinite(spread):
            found.append((max(times * spread, floor), len(a[0]), len(common)))
    if not found:
        return None
    return median(points for points, _, _ in found), found[0][1], min(common for _, _, common in found)


def _answers(cell: Cell, split: str, seeds: int | None) -> dict[int, Answers]:
    runs = sorted(cell.runs, key=lambda run: run.result.seed)[:seeds]
    return {run.result.seed: run.packed[split] for run in runs if split in run.packed}


def study_sentences(study: Study, runs: Sequence[StoredRun]) -> list[str]:
    """The number of trials, the best and its values, the importance of each axis; of ``runs`` those that it made."""
    counts = Counter(trial.state for trial in study.trials)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    lines = [f"{amount(len(study.trials), 'trial')}: {states}."]
    made = [run for run in runs if run.sweep == study.name and run.status == "done"]
    if odd := dict.fromkeys(key for run in made for key in apart(made[0], run)):
        lines.append(f"Its trials were not run on the same data ({differs([*odd])}): their scores do not compare.")
    if study.best is None:
        return [*lines, "None has finished, so there is no best yet."]
    lines.append(f"Best dev score {study.best.value:.2f}, trial {study.best.number}: {trial_values(study.best)}.")
    if study.importances:
        shares = ", ".join(f"{key} {100 * share:.0f} %" for key, share in study.importances.items())
        lines.append(f"Importance of each axis for the best half of the trials (PED-ANOVA): {shares}.")
    return lines


def trial_values(trial: Trial) -> str:
    """``optimizer.lr=0.00312 factors=32x24``"""
    shown = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in trial.params.items()}
    return " ".join(f"{key}={value}" for key, value in shown.items())
