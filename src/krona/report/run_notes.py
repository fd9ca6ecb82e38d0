"""Build the notes on the runs of a table: seeds, settings, code, machine, and the smallest difference a test finds."""

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from krona.messages import amount, first_few
from krona.metrics.power import detectable_difference, fewest_examples
from krona.metrics.statistics import swap_test
from krona.paper import method_label, task_label
from krona.report.grouping import setting_text
from krona.report.stored_runs import (
    StoredRun,
    count_unfinished,
    differing_data,
    finished,
    format_differing,
    one_of_each,
)
from krona.report.table import AVERAGE, Cell, Table, common_answers
from krona.report.wording import number
from krona.runs.provenance import asked_shape, used_shape
from krona.runs.result import Result

TUNED = "recipe=tuned took "
MOST_TUNED = 12  # at most this number of notes on tuned settings
SWAPS = 400  # enough to estimate the standard deviation of the null differences to 4 %
POWER_NOTE = "The paired test finds a difference of this size four times out of five, and a smaller one less often"
# Runs of a task with equal values of these settings should use the same data.
DATA_SETTINGS = ("data.protocol", "data.seed", "data.train_rows", "data.skip_bad_rows")
SETTINGS = {
    "trainer.max_epochs": "epochs", "trainer.max_steps": "maximum steps", "batch_size": "batch",
    "optimizer.warmup_steps": "warm-up", "data.train_rows": "training rows", "trainer.precision": "precision",
}  # fmt: skip


def describe_runs(runs: Sequence[StoredRun], *, shapes: bool) -> list[str]:
    """Return notes on the data, the settings, the code and the devices of a table's runs.

    With ``shapes``, there is also a note on shapes of A that did not fit the layers.
    """
    return [
        *_mixed_data_notes(runs),
        *_head_note(runs),
        *_settings_note(runs),
        *(_shapes_note(runs) if shapes else []),
        *_tuned_notes(runs),
        _code_note(runs),
    ]


def _mixed_data_notes(runs: Sequence[StoredRun]) -> list[str]:
    """Return a note for each task on which methods with the same data settings did not use the same data."""
    first: dict[tuple[str | bool | None, ...], StoredRun] = {}
    keys: dict[str, dict[str, None]] = defaultdict(dict)
    methods: dict[str, dict[str, None]] = defaultdict(dict)
    for run in one_of_each(finished(runs)):
        task = run.result.task
        other = first.setdefault((task, run.has_prefix, *map(run.setting, DATA_SETTINGS)), run)
        if found := differing_data([other, run]):
            keys[task] |= dict.fromkeys(found)
            methods[task] |= dict.fromkeys(method_label(one.result.method) for one in (other, run))
    return [
        f"{task_label(task)}: {' and '.join(names)} were not run on the same data ({format_differing([*keys[task]])})."
        for task, names in methods.items()
        if len(names) > 1  # variants of a single method have separate rows
    ]


def _tuned_notes(runs: Sequence[StoredRun]) -> list[str]:
    notes = dict.fromkeys(
        f"{method_label(run.result.method)} on {task_label(run.result.task)} took {note.removeprefix(TUNED)}."
        for run in runs
        for note in run.result.notes
        if note.startswith(TUNED)
    )
    return first_few(list(notes), MOST_TUNED)


def describe_limits(table: Table, tasks: list[str]) -> list[str]:
    """Return notes on limits of a table: single seeds, unequal numbers of seeds, and cells without test or interval."""
    columns = [[row.cells[task] for row in table.rows if row.cells[task].value is not None] for task in tasks]
    cells = [cell for column in columns for cell in column]
    if not cells:
        return []
    notes = []
    sizes = sorted({len(cell.seeds) for cell in cells})
    if sizes == [1]:
        notes.append("Each cell has one seed, so no interval over seeds can be given.")
    elif len(sizes) > 1:
        notes.append(
            f"Cells have {sizes[0]} to {sizes[-1]} seeds. The paired test uses the seeds that both methods have."
        )
    means = [row.cell(AVERAGE) for row in table.rows if row.cell(AVERAGE).value is not None]
    if sizes != [1] and any(not cell.by_seed for cell in means):
        notes.append("A mean over tasks with different seeds has no interval over seeds.")
    untested = sum(cell.compared and not cell.best and cell.p is None for cell in cells)
    if untested:
        notes.append(f"{amount(untested, 'cell')} could not be tested against the best of the column.")
    if any(cell.test_interval is None for cell in cells):
        notes.append("Cells without stored predictions, or with several test sets, have no interval over examples.")
    return notes


def _settings_note(runs: Sequence[StoredRun]) -> list[str]:
    training = one_of_each(run for run in runs if run.result.trainable_params != 0) or one_of_each(runs)
    words = []
    for key, name in SETTINGS.items():
        values = sorted({run.setting(key) or "null" for run in training}, key=lambda value: (len(value), value))
        if values not in (["null"], ["-1"]):
            values.sort(key=lambda value: value in ("null", "-1"))  # numbers before words such as "no limit"
            words.append(f"{name} {' or '.join(setting_text(key, value) for value in values[:4])}")
    return [f"Settings: {', '.join(words)}."] if words else []


def _head_note(runs: Sequence[StoredRun]) -> list[str]:
    sizes = sorted({run.result.head_params for run in runs if run.result.head_params})
    shown = " or ".join(f"{size:,}" for size in sizes)
    return [f"Params do not include the new head of {shown} parameters, which every method trains."] if sizes else []


def _shapes_note(runs: Sequence[StoredRun]) -> list[str]:
    done = [run.result for run in one_of_each(finished(runs))]
    fitted = sorted({f"{asked} → {used_shape(result)}" for result in done if (asked := asked_shape(result))})
    return [f"Shapes of A, the paper's → those used on this backbone: {', '.join(fitted)}."] if fitted else []


def _version(result: Result) -> str:
    """Return the commit of the code. For an installed krona, return its version."""
    if commit := result.provenance.get("git_commit"):
        return f"commit {commit[:10]}"
    return f"krona {(result.provenance.get('versions') or {}).get('krona', 'of an unknown version')}"


def _code_note(runs: Sequence[StoredRun]) -> str:
    done = finished(runs)
    commits = sorted({_version(run.result) for run in done or runs})
    dirty = sum(bool(run.result.provenance.get("git_dirty")) for run in done)
    devices = sorted({str(run.result.provenance.get("device")) for run in done or runs})
    changed = f", {dirty} with uncommitted changes" if dirty else ""
    code = f"{len(commits)} versions ({', '.join(commits[:3])})" if len(commits) > 1 else commits[0]
    words = f"{amount(len(done), 'finished run')} of {code}{changed}, on {', '.join(devices[:3])}."
    others = count_unfinished(runs)
    return f"{words} Not finished: {others}." if others else words


def power_note(table: Table) -> list[str]:
    """Return a note on the smallest difference between the two best rows that the paired test can find on each task.

    It depends on the examples for which these rows have different predictions, so other pairs have other differences.
    """
    found = []
    for column in table.task_columns:
        rows = [row for row in table.rows if row.cell(column.key).best or row.cell(column.key).p is not None]
        rows.sort(key=lambda row: (not row.cell(column.key).best, -(row.cell(column.key).value or 0)))
        if len(rows) < 2:
            continue
        a, b = (row.cell(column.key) for row in rows[:2])
        if smallest := a.compute("power", b.sources, partial(_smallest_difference, a, b)):
            points, examples, seeds = smallest
            pair = " and ".join(row.name for row in rows[:2])
            counts = f"{pair}, {amount(examples, 'example')}, {amount(seeds, 'seed')}"
            found.append(f"{task_label(column.key)} {number(points)} ({counts})")
    return [f"{POWER_NOTE} (level 5 %, the best two rows): {', '.join(found)}."] if found else []


def _smallest_difference(a: Cell, b: Cell) -> tuple[float, int, int] | None:
    """Return the smallest difference (points), the number of examples and the number of common seeds of two cells.

    For classes, the difference is at least the smallest number of examples that can be significant. Return None if the
    cells cannot be tested, or if the test has no variance.
    """
    if b.test_against(a) is None:  # in the direction of the column's tests
        return None
    one, two = common_answers(a, b)
    smallest = detectable_difference(swap_test(one, two, a.runs[0].metrics, swaps=SWAPS))
    if not smallest or not math.isfinite(smallest):
        return None
    floor = 100 * fewest_examples() / len(one[0]) if one[0].classes else 0.0
    return max(smallest, floor), len(one[0]), len(one)
