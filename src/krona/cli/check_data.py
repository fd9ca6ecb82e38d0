"""Count the rows, labels and suspicious inputs of the data that a run would read (`krona check-data`)."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from krona import tasks
from krona.config import check
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import normalize
from krona.config.settings import Data, RunSettings
from krona.display_names import BENCHMARKS
from krona.formatting import Cell, say, table, terminal_width
from krona.messages import KronaError, plural
from krona.metrics.scores.metric import EMPTY_SET
from krona.tasks import ROLES, Splits, Task
from krona.tasks.data_sources import require_files
from krona.tasks.rows import SUSPICIOUS

MAX_LABELS = 40  # maximum number of labels in the table, the most frequent ones
LEFT = ("official split", "source", "split", "from", "label", "number")


def check_data(task: str, overrides: Sequence[str], console: Console) -> None:
    """Print counts of the data that a run of ``task`` with these overrides would read. No model is loaded.

    Raises:
        KronaError: a run would fail with the same message. If the only cause is bad rows, counts are printed first.
    """
    if "," in task:
        raise KronaError(f"{task} contains several tasks. Check one task at a time.")
    arguments = [f"task={task.removeprefix('task=')}", *overrides]
    with hydra_session():
        job = compose_job(normalize(arguments))
    settings = check.settings(job.config, own=True, imports=check.may_set_arguments(job.overrides))
    require_files(settings.task, kind=settings.data.kind, path=settings.data.path)
    try:
        splits = _load(settings, settings.data)
    except KronaError as error:
        try:
            splits = _load(settings, replace(settings.data, skip_bad_rows=True))
        except KronaError as rest:
            if str(rest) == str(error):
                raise error from None
            raise KronaError(f"{error}\nWith data.skip_bad_rows=true: {rest}") from None
        say(console, "A run would stop at the first bad row. These are the counts with data.skip_bad_rows=true.\n")
        _print_counts(settings.task, settings.data, splits, console)
        raise
    _print_counts(settings.task, settings.data, splits, console)
    command = f"usable: krona train {shlex.join(arguments)}"
    console.print(command, highlight=False, markup=False, soft_wrap=True)


def _load(settings: RunSettings, data: Data) -> Splits:
    return tasks.load(settings.task, data, prefix=settings.method.task_prefix)


def _print_counts(task: Task, data: Data, splits: Splits, console: Console) -> None:
    say(console, f"{task.name}, {f'data={data.kind}' if task.data_kind in BENCHMARKS else f'{task.data_kind} data'}\n")
    for headings, rows in (_official_table(task, splits), _splits_table(splits), _labels_table(task, splits)):
        say(console, table(headings, rows, width=terminal_width(console), left=LEFT))
        say(console, "")
    for note in tasks.notes(task, splits):
        say(console, f"note: {note}")
    for official in splits.official.values():
        for kind, bad in official.skipped.items():
            say(console, f"first row with {kind}: {official.origin}:{bad[0]}")


def _official_table(task: Task, splits: Splits) -> tuple[list[str], list[list[Cell]]]:
    official = tasks.official_rows(task, splits.official)
    rows: list[list[Cell]] = []
    for name, split in splits.official.items():
        expected = f"{official[name][1]:,}" if name in official else ""
        counts = [f"{len(split.suspicious.get(kind, ())):,}" for kind in SUSPICIOUS]
        rows.append([name, f"{split.rows:,}", expected, f"{split.skipped_rows:,}", *counts, split.origin])
    return [
        "official split",
        "rows",
        f"{BENCHMARKS.get(task.data_kind, 'GLUE')}'s",
        "bad rows",
        *SUSPICIOUS,
        "source",
    ], rows


def _splits_table(splits: Splits) -> tuple[list[str], list[list[Cell]]]:
    keys = ["rows", "empty_texts", "repeated", "also_in_train", "also_in_dev"]
    rows: list[list[Cell]] = []
    for role, facts in splits.counts.items():
        counts = [f"{facts[key]:,}" if key in facts else "" for key in keys]
        split = splits.by_role[role]
        if split.groups is not None:
            counts.append(f"{len({*split.groups}):,}")
        rows.append([role, *counts, split.official.name])
    groups = [] if splits.train.groups is None else ["groups"]
    return ["split", *(key.replace("_", " ") for key in keys), *groups, "from"], rows


def _labels_table(task: Task, splits: Splits) -> tuple[list[str], list[list[Cell]]]:
    rows: list[list[Cell]]
    if (targets := task.target_strings()) is None:
        counts = [splits.counts[role]["targets"] for role in ROLES]  # sorted by target
        rows = [
            ["lowest", *(next(iter(by_target)) for by_target in counts)],
            ["highest", *(next(reversed(by_target)) for by_target in counts)],
            ["different values", *(f"{len({*split.targets}):,}" for split in splits.by_role.values())],
        ]
        return ["number", *ROLES], rows
    by_split = [task.count_labels(split.targets) for split in splits.by_role.values()]
    names = [*targets, EMPTY_SET] if task.is_multilabel else targets
    shown = names if len(names) <= MAX_LABELS else sorted(names, key=lambda name: -by_split[0][name])[:MAX_LABELS]
    rows = [[task.label_name(target), *(f"{by_target[target]:,}" for by_target in by_split)] for target in shown]
    if len(shown) < len(names):
        others = [sum(by_target.values()) - sum(by_target[name] for name in shown) for by_target in by_split]
        rows.append([plural(len(names) - len(shown), "other label"), *(f"{count:,}" for count in others)])
    return ["label", *ROLES], rows
