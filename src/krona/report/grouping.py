"""Group the runs of a table into rows, and make the commands that start the missing runs of a row.

A cell contains the runs of one configuration with several seeds. Runs that differ in a setting other than the seed are
in separate rows.
"""

import re
import shlex
from collections import defaultdict
from collections.abc import Sequence

import yaml

from krona.formatting import override_text
from krona.messages import first_few, shorten
from krona.paper import task_label
from krona.paths import OUTPUTS
from krona.report.layouts import Layout, row_order
from krona.report.sections import Section, merge_sections
from krona.report.stored_runs import DATA, StoredRun, finished
from krona.report.table import Row
from krona.runs.folder import RunFolder
from krona.runs.provenance import asked_shape, used_shape

LONG = re.compile(r"-?\d+\.\d{7,}(e-?\d+)?")
WORDS = {("trainer.max_steps", "-1"): "no limit", ("data.train_rows", "null"): "all"}
HIDDEN = ("method.name", "method._target_", "method.source", "method.fit_factors")
NOT_REPEATED = ("task", "seed", "sweep", "data.skip_bad_rows", "retry", "overwrite")  # overrides of a single run
OF_ONE_TASK = ("task.", "optimizer.lr=tuned")  # overrides that another task must not have
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
            cells[key][run.result.task][run.common.variant].append(run)
    rows: list[Row] = []
    notes: list[str] = []
    for key in sorted({*cells, *(layout.rows if whole else ())}, key=lambda name: row_order(layout, name)):
        plain, several = Row(key), {}
        for task, variants in cells.get(key, {}).items():
            _join_unknown(variants)
            every = list(variants.values())
            preferred = [runs for runs in every if finished(runs)] or every
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
        name_row(layout, row)
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


def name_row(layout: Layout, row: Row) -> None:
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


def make_command(layout: Layout, section: Section, row: Row, task: str) -> str:
    """Return the command of a table of the paper or of a sweep, for a row's missing runs on a task."""
    runs = row.runs.get(task, [])
    chosen = any(key.startswith(("backbone.", "data.")) for key in row.settings)
    own = runs or ([row.first] if chosen and row.first else [])  # otherwise use the overrides of the whole table
    overrides = (merge_sections([run.section for run in own]) if own else section).overrides
    words = [*layout.command.split(), *overrides, *layout.override(row.key), f"task={task}"]
    for key, value in row.settings.items():
        if " " not in key and not key.startswith(("backbone.", "data.")):  # no content, no override
            words.append(f"factors={value}" if key == "method.kron_factors" else f"{key}={value}")
    return shlex.join([*words, *_seed_words(_unfinished(runs))])


def repeat_overrides(layout: Layout, row: Row, task: str, on_task: Sequence[StoredRun]) -> str:
    """Return the command for a row's missing runs on a task, with the overrides of a stored run of this row.

    ``on_task`` are the runs of all rows on this task. The command is empty if the stored overrides do not suffice.
    """
    runs = row.runs.get(task, [])
    run = runs[0] if runs else row.first
    overrides = _read_overrides(run) if run else None
    if run is None or overrides is None or (not runs and any(item.startswith(OF_ONE_TASK) for item in overrides)):
        return ""
    words = [item for item in overrides if item.lstrip("+").partition("=")[0] not in NOT_REPEATED]
    words.append(f"task={task}")
    if any(one.setting("data.skip_bad_rows") == "true" for one in runs or on_task):
        words.append("data.skip_bad_rows=true")
    folder = run.path.absolute().parents[1]
    if folder != OUTPUTS:
        words.append(f"hydra.sweep.dir={override_text(str(folder))}")
    start = layout.command if " -m " in layout.command else f"{layout.command} -m"
    return shlex.join([*start.split(), *words, *_seed_words(_unfinished(runs) if runs else row.all_runs)])


def _read_overrides(run: StoredRun) -> list[str] | None:
    """Return the overrides that a run was started with, or None if the run has not recorded them."""
    try:
        found = yaml.safe_load((RunFolder(run.path.parent).record / "overrides.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return found if isinstance(found, list) and all(isinstance(item, str) for item in found) else None


def _unfinished(runs: Sequence[StoredRun]) -> list[StoredRun]:
    return [run for run in runs if run.status in ("failed", "interrupted")]


def _seed_words(runs: Sequence[StoredRun]) -> list[str]:
    seeds = sorted({run.result.seed for run in runs})
    return [f"seed={','.join(map(str, seeds))}"] if seeds not in ([], [0]) else []
