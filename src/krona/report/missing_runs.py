"""Make the commands that start the missing runs of a table."""

import shlex
from collections.abc import Sequence

import yaml

from krona.formatting import override_text
from krona.paths import OUTPUTS
from krona.report.layouts import Layout
from krona.report.sections import Section, merge_sections
from krona.report.stored_runs import StoredRun
from krona.report.table import Row
from krona.runs.folder import RunFolder

NOT_REPEATED = ("task", "seed", "sweep", "data.skip_bad_rows", "retry", "overwrite")  # overrides of a single run
OF_ONE_TASK = ("task.", "optimizer.lr=tuned")  # overrides that another task must not have


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
