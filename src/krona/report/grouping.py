"""Group the runs of a table into rows.

A cell contains the runs of one configuration with several seeds. Runs that differ in a setting other than the seed are
in separate rows.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

from krona.messages import first_few, shorten
from krona.paper import method_label, task_label
from krona.report.layouts import Layout, row_order
from krona.report.stored_runs import SPLITS, StoredRun, one_of_each
from krona.report.table import Row
from krona.runs.provenance import asked_shape, used_shape

LONG = re.compile(r"-?\d+\.\d{7,}(e-?\d+)?")
WORDS = {("trainer.max_steps", "-1"): "none", ("data.train_rows", "null"): "all"}
HIDDEN = ("method.name", "method._target_", "method.source", "method.fit_factors")
DATA = (*(f"{name} set" for name in SPLITS), "rows left out")
# Runs of a task with equal values of these settings should use the same data.
DATA_SETTINGS = ("data.protocol", "data.seed", "data.train_rows", "data.skip_bad_rows")
Variants = dict[tuple[str, ...], list[StoredRun]]


def setting_text(key: str, value: str) -> str:
    """Format the value of a setting. A long fraction is rounded to four significant digits."""
    if LONG.fullmatch(value):
        return f"{float(value):.4g}"
    return WORDS.get((key, value), "none" if value == "null" else shorten(value, 200))


def group_runs(runs: Sequence[StoredRun], layout: Layout, *, whole: bool) -> tuple[list[Row], list[str]]:
    """Return the rows of one section's runs in the table's order, and a note for each method and task with variants.

    The rows have no cells yet. Variants are groups of runs that differ in a setting other than the seed. With
    ``whole``, the layout's rows without runs are also returned.
    """
    cells: dict[str, dict[str, Variants]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for run in runs:
        if (key := layout.row(run.result)) is not None:
            cells[key][run.result.task][run.variant].append(run)
    rows: list[Row] = []
    notes: list[str] = []
    for key in sorted({*cells, *(layout.rows if whole else ())}, key=lambda name: row_order(layout, name)):
        plain, several = Row(key), {}
        for task, variants in cells.get(key, {}).items():
            _join_unknown(variants)
            preferred = _preferred(list(variants.values()), layout.sweep)
            if len(preferred) == 1:
                plain.runs[task] = preferred[0]
            else:
                several[task] = preferred
        differing = {task: _differing([one[0] for one in variants]) for task, variants in several.items()}
        split = _split(key, several, differing)
        plain.apart = frozenset(several)
        rows += [plain, *split] if plain.runs or not split else split
        for task, found in several.items():
            place, names = f"{layout.labels.get(key, shorten(key))} on {task_label(task)}", ", ".join(differing[task])
            notes.append(f"{place} has {len(found)} variants ({names}). Each has its own row.")
            notes[-1] += _latest_data([one[0] for one in found], differing[task])
    for row in rows:
        _name_row(layout, row)
    return rows, first_few(notes, 5)


def _join_unknown(variants: Variants) -> None:
    """Move each run that ended before it recorded fingerprints of its data to a variant with the same settings."""
    for name, runs in list(variants.items()):
        if None not in runs[0].content.values():
            continue
        for other in variants:
            if other != name and {*name} <= {*other}:
                variants[other] += variants.pop(name)
                break


def _preferred(variants: list[list[StoredRun]], sweep: str | None) -> list[list[StoredRun]]:
    """Return the variants with finished runs, or of these only the variants with runs of the table's sweep, if any."""
    variants = [runs for runs in variants if any(run.status == "done" for run in runs)] or variants
    own = [runs for runs in variants if sweep is not None and any(run.sweep == sweep for run in runs)]
    return own or variants


def _split(row: str, several: dict[str, list[list[StoredRun]]], differing: dict[str, list[str]]) -> list[Row]:
    """Return a row for each combination of the differing settings. Tasks with equal combinations share a row.

    Args:
        several: the runs of each variant, for each task with several variants.
        differing: the keys of the settings in which the variants of each task differ.
    """
    keys = list(dict.fromkeys(key for found in differing.values() for key in found))
    found: dict[tuple[tuple[str, str], ...], Row] = {}
    for task, variants in several.items():
        for runs in variants:
            settings = {key: runs[0].setting(key) for key in keys if key in differing[task]}
            values = {key: "not set" if value is None else value for key, value in settings.items()}
            found.setdefault(tuple(values.items()), Row(row, settings=values)).runs[task] = runs
    return [found[name] for name in sorted(found, key=lambda name: [_by_size(*part) for part in name])]


def _by_size(key: str, value: str) -> tuple[str, float, str]:
    """Return a sort key that sorts lr=0.0001 before lr=0.001, and 2x384 before 12x64."""
    try:
        return key, float(value.split("x")[0]), value
    except ValueError:
        return key, float("inf"), value


def _differing(runs: Sequence[StoredRun]) -> list[str]:
    """Return the keys of the settings in which these runs differ.

    If the settings of the config already distinguish all runs, the fingerprints of the data and the numbers of left-out
    rows are omitted.
    """
    every = [run.settings for run in runs]
    keys = dict.fromkeys(key for settings in every for key in sorted(settings) if key not in HIDDEN)
    found = [key for key in keys if len({settings.get(key) for settings in every}) > 1]
    typed = [key for key in found if key not in runs[0].content]
    return typed if len({tuple(run.setting(key) for key in typed) for run in runs}) == len(runs) else found


def _latest_data(runs: Sequence[StoredRun], differing: Sequence[str]) -> str:
    """Return a sentence with the data of the run that started last, if the runs differ in their data."""
    keys = [key for key in differing if key in DATA]
    latest = max(runs, key=lambda run: run.whole.provenance.get("started") or "") if keys else runs[0]
    return f" The latest run has {', '.join(f'{key}={latest.setting(key)}' for key in keys)}." if keys else ""


def _name_row(layout: Layout, row: Row) -> None:
    """Set the label of a row, and its differing settings as text. A shape of A is the shape that was used."""
    row.label, first = layout.labels.get(row.key, shorten(row.key)), row.first
    used, asked = (used_shape(first.result), asked_shape(first.result)) if first else (None, None)
    shown = {key: setting_text(key, value) for key, value in row.settings.items()}
    if first and (key := "method.kron_factors") in shown:
        shown[key] = f"{used} (the paper's {asked})" if asked else used or row.settings[key]
    words = [f"{key.removeprefix('method.')}={value}" for key, value in shown.items()]
    if layout.by_shape and asked:  # in a table of shapes, the label is the shape that was used
        row.label, words = used or row.label, [f"the paper's {row.key}", *words]
    row.differs = ", ".join(words)


def differing_data(a: StoredRun, b: StoredRun) -> list[str]:
    """Return the properties in which the data of two runs differ, such as ``train set`` and ``rows left out``.

    Unknown values do not count as different.
    """
    if _has_prefix(a) != _has_prefix(b):  # texts with and without the task's name have different fingerprints
        return []
    pairs = [(key, a.content[key], b.content[key]) for key in DATA]
    return [key for key, x, y in pairs if x != y and None not in (x, y)]


def format_differing(keys: Sequence[str]) -> str:
    """Return text such as ``train set and dev set differ``."""
    return f"{' and '.join(keys)} {'differs' if len(keys) == 1 else 'differ'}"


def mixed_data_notes(runs: Sequence[StoredRun]) -> list[str]:
    """Return a note for each task on which methods with the same data settings did not use the same data."""
    first: dict[tuple[str | bool | None, ...], StoredRun] = {}
    keys: dict[str, dict[str, None]] = defaultdict(dict)
    methods: dict[str, dict[str, None]] = defaultdict(dict)
    for run in one_of_each(run for run in runs if run.status == "done"):
        task = run.result.task
        other = first.setdefault((task, _has_prefix(run), *map(run.setting, DATA_SETTINGS)), run)
        if found := differing_data(other, run):
            keys[task] |= dict.fromkeys(found)
            methods[task] |= dict.fromkeys(method_label(one.result.method) for one in (other, run))
    notes = []
    for task, differing_keys in keys.items():
        if len(methods[task]) > 1:  # variants of a single method have separate rows
            who, differing = " and ".join(methods[task]), format_differing([*differing_keys])
            notes.append(f"{task_label(task)}: {who} were not run on the same data ({differing}).")
    return notes


def _has_prefix(run: StoredRun) -> bool:
    task, method = run.result.config["task"], run.result.config["method"]
    given = task.get("prefix")
    return bool(method.get("task_prefix") if given is None else given)
