"""Choose the rows of `krona evaluate`: a task, data, and a split or a file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from krona import tasks
from krona.adapters.find import TrainedRun
from krona.adapters.origin import compose
from krona.config import check
from krona.formatting import override_text
from krona.messages import KronaError, amount, did_you_mean
from krona.tasks import ROLES, Data, Split, Task
from krona.tasks.sources import KINDS

SOURCE_KEYS = ("kind", "path", "name", "revision")  # the settings of the data that do not affect their split


@dataclass(frozen=True, kw_only=True)
class RowChoice:
    """The rows on which a run is scored."""

    task: str | None = None  # the name of a task (a file of conf/task); None means the task of the run
    data: str | None = None  # the folder of the GLUE download, "hub" or "sample"; None means the data of the run
    split: str = "test"  # dev, test or train as a run splits the data, or an official split (validation, …)
    source: str | None = None  # a file with the task's columns and labels, which replaces the task's data
    mapping: Sequence[str] = ()  # texts ``word=word`` from a label of the run to a label of the task
    overrides: Sequence[str] = ()  # of the run's data, such as ``data.skip_bad_rows=true``, and of the keys of ``task``


def find_task_and_data(found: TrainedRun, rows: RowChoice) -> tuple[Task, Data]:
    """Return the task and the data settings of the rows. Raise `KronaError` for an override without an effect."""
    run_task, name = found.origin.task_settings, rows.task
    own = None if found.result is None else {**found.result.config["data"], "train_rows": None}
    if name is None and rows.data not in (None, "sample"):
        name = run_task.sample  # a run on sample data reads GLUE's files as that task
    line = [f"task={name}"] if name else []
    if rows.data is not None:
        line += [f"data={rows.data}"] if rows.data in KINDS else ["data=tsv", f"data.path={override_text(rows.data)}"]
    if not line and not rows.overrides:
        return run_task, check.build(Data, "data", own or {"kind": "sample" if run_task.kind == "sample" else "hub"})
    keys = [item.lstrip("+").partition("=")[0] for item in rows.overrides]
    accepted = ("data.", "task.") if name else ("data.",)
    refused = [
        item
        for item, key in zip(rows.overrides, keys, strict=True)
        if not key.startswith(accepted) and (key != "data" or rows.data is not None)
    ]
    if refused:
        raise KronaError(
            f"krona evaluate can't use {' '.join(refused)}. It accepts data.KEY=VALUE, and task.KEY=VALUE together "
            "with --task. Choose the task with --task NAME and the data with --data."
        )
    config = compose([*line, *rows.overrides])
    task = check.task(config["task"], own=True) if name else run_task
    if own is None:
        return task, check.build(Data, "data", config["data"])
    if rows.data is not None or "data" in keys:  # other data, which are split like the data of the run
        own = {**own, **{key: config["data"][key] for key in SOURCE_KEYS}}
    typed = [key.removeprefix("data.") for key in keys if key.startswith("data.")]
    return task, check.build(Data, "data", {**own, **{key: config["data"][key] for key in typed}})


def load_rows(task: Task, data: Data, found: TrainedRun, rows: RowChoice) -> tuple[Split, str]:
    """Return the rows and a description of them."""
    prefix, options = found.origin.task_prefix, replace(data, train_rows=None)
    if rows.source is not None:
        files = {"files": {"train": rows.source}, "sample": None, "split": "given"}
        parts = tasks.read_parts(Task.from_config({**dict(task), **files}), replace(options, path=None), prefix=prefix)
        split = parts["train"]
        return replace(split, ids=[str(number) for number in range(len(split))]), rows.source
    if rows.split in ROLES:
        return getattr(tasks.load(task, options, prefix=prefix), rows.split), rows.split
    parts = tasks.read_parts(task, options, prefix=prefix)
    if rows.split not in parts:
        raise KronaError(
            f"--split {rows.split} was not found: {did_you_mean(rows.split, dict.fromkeys([*ROLES, *parts]))}"
        )
    return parts[rows.split], rows.split


def describe_rows(split: Split, found: TrainedRun, rows: RowChoice) -> list[str]:
    """Return messages on skipped and suspicious rows, and on a change of the run's own data since the training.

    The counts are those of an official part of the data. They are left out if the rows are only some of a part of the
    run's own data, because the run reported them.
    """
    is_own = rows.task is rows.data is rows.source is None
    notes = [] if is_own and len(split) < split.part.rows else list(tasks.part_notes(split.part))
    return notes + _describe_change(split, found, rows)


def _describe_change(split: Split, found: TrainedRun, rows: RowChoice) -> list[str]:
    own = RowChoice(split=rows.split, mapping=rows.mapping, overrides=rows.overrides)
    same_source = rows == own and all("data.skip_bad_rows=" in item for item in rows.overrides)
    if found.result is None or not same_source:
        return []
    recorded = found.result.splits.get(rows.split, {})
    is_subset = rows.split == "train" and found.result.config["data"].get("train_rows") is not None
    if is_subset or recorded.get("fingerprint", split.fingerprint) == split.fingerprint:
        return []
    before, now = recorded["rows"], len(split)
    change = f"{amount(now, 'row')} instead of {before:,}" if now != before else "other ids, texts or labels"
    return [f"the data have changed since training: {rows.split} has {change} (read from {split.part.origin})"]
