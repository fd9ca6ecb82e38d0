"""`krona evaluate`: the scores of a finished run on any rows with labels, without training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from krona import metrics, tasks
from krona.adapters.commands import submission
from krona.adapters.find import TrainedRun, find
from krona.adapters.load import Trained, load
from krona.config import check
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import normalize
from krona.config.settings import Data
from krona.files import write_whole
from krona.messages import KronaError, amount, did_you_mean, listed
from krona.metrics.answers import encode
from krona.metrics.statistics import bootstrap, interval_of
from krona.runs.folder import require_new
from krona.runs.predictions import label_words
from krona.screen import say
from krona.tasks import ROLES, DataOptions, Split, Task
from krona.tasks.sources import KINDS

BATCH_SIZE = 64  # where no result says which the run had


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores on some rows. parts: metric → score, 0-100; interval: of the table's score, bootstrap over rows, 95 %."""

    run_id: str
    task: str
    rows: str
    count: int
    score: float
    interval: tuple[float, float]
    parts: Mapping[str, float]
    no_label: int


def evaluate(
    found: TrainedRun,
    *,
    task: str | None = None,
    data: str | None = None,
    split: str = "test",
    source: str | None = None,
    mapping: Sequence[str] = (),
    overrides: Sequence[str] = (),
    output: Path | None = None,
    backbone: str | None = None,
    batch_size: int | None = None,
) -> Evaluation:
    """Score a run on rows that it need not have seen.

    Args:
        task: a file of conf/task; None: the run's own.
        data: GLUE's folder, or hub, sample; None: where the run's data came from.
        split: dev, test or train as a run divides them, or an official part (validation, validation_matched …).
        source: a file with the task's columns and its label column, instead of the task's data.
        mapping: ``word=word``: the run's label word and the task's that it counts as.
        overrides: further overrides as train.py takes them (``data.skip_bad_rows=true``).
        output: a .jsonl file with the source, the target and the prediction of each row.
        batch_size: rows at once; None: as the run was scored, so that its own rows give its own predictions, also in
            bf16.

    Raises:
        KronaError: rows that can't be read, labels that the run doesn't know.
    """
    scored_task, settings = _task_and_data(found, task, data, overrides)
    rows, where = _rows(scored_task, settings, found, split=split, source=source)
    words = _words(found, scored_task, mapping)
    trained = load(found, backbone=backbone)
    own_size = BATCH_SIZE if found.result is None else found.result.config["trainer"].get("eval_batch_size", BATCH_SIZE)
    answers = _answers(trained, rows, batch_size or own_size)
    targets = set(scored_task.target_strings() or [])  # an answer that is none of the run's labels is none of these
    predictions = [words.get(answer, f"{answer} (no label)" if answer in targets else answer) for answer in answers]
    parts = metrics.load(scored_task)(rows.targets, predictions)
    if output is not None:
        _write(output, rows, predictions)
    numbers = encode(rows.targets, predictions, scored_task.target_strings())
    low, high = interval_of(bootstrap([numbers], list(scored_task.score)))
    return Evaluation(
        run_id=found.origin.run_id,
        task=scored_task.name,
        rows=where,
        count=len(rows),
        score=scored_task.table_score(parts),
        interval=(low, high),
        parts=parts,
        no_label=int((numbers.given < 0).sum()) if scored_task.labels else 0,
    )


def lines(one: Evaluation) -> list[str]:
    """An evaluation as text."""
    parts = ", ".join(f"{name} {value:.2f}" for name, value in one.parts.items())
    low, high = one.interval
    found = [f"{one.run_id} on {one.task}, {one.rows}: {one.score:.2f} [{low:.1f}, {high:.1f}] ({parts}) on "
             f"{amount(one.count, 'row')}"]  # fmt: skip
    if one.no_label:
        found.append(f"  {one.no_label:,} of {one.count:,} predictions are no label and count as wrong")
    return found


def _task_and_data(
    found: TrainedRun, task: str | None, data: str | None, overrides: Sequence[str]
) -> tuple[Task, Data]:
    """The task whose rows are scored, and where they come from."""
    own = dict(found.result.config["data"]) if found.result is not None else None
    if task is None and data not in (None, "sample"):
        task = found.origin.task_settings.sample  # a run on sample data reads GLUE's files as that task
    line = [f"task={task}"] if task else []
    if data is not None:
        line += [f"data={data}"] if data in KINDS else ["data=tsv", f"data.path={data}"]
    if not line and not overrides:
        kind = "sample" if found.origin.task_settings.kind == "sample" else "hub"
        settings = check.build(Data, "data", own or {"kind": kind})
        return found.origin.task_settings, replace(settings, train_rows=None)
    with hydra_session():
        config = compose_job(normalize([*line, *overrides])).config
    composed = check.build(Data, "data", config["data"])
    if data is None and own is not None and not any(item.startswith("data") for item in overrides):
        composed = check.build(Data, "data", {**own, "train_rows": None})
    return (Task.from_config(config["task"]) if task else found.origin.task_settings), composed


def _rows(task: Task, data: Data, found: TrainedRun, *, split: str, source: str | None) -> tuple[Split, str]:
    """The rows to be scored, and what they are called."""
    prefix = found.origin.task_prefix
    options = DataOptions(**{**vars(data), "train_rows": None})
    if source is not None:
        file_task = Task.from_config({**dict(task), "files": {"train": source}, "sample": None, "split": "given"})
        parts = tasks.undivided(file_task, replace(options, path=None), prefix=prefix)
        return replace(parts["train"], ids=[str(row) for row in range(len(parts["train"]))]), source
    if split in ROLES:
        splits = tasks.load(task, options, prefix=prefix)
        return getattr(splits, split), split
    parts = tasks.undivided(task, options, prefix=prefix)
    if split not in parts:
        raise KronaError(f"--split {split}: {did_you_mean(split, dict.fromkeys([*ROLES, *parts]))}")
    return parts[split], split


def _words(found: TrainedRun, task: Task, mapping: Sequence[str]) -> dict[str, str]:
    """The run's answer → the scored task's target. Raises KronaError where a label of the run has no counterpart."""
    own, width = label_words(found.origin.task), len(found.origin.task["columns"])
    if width != len(task.columns):
        raise KronaError(
            f"{found.origin.run_id} reads {amount(width, 'text')} of a row, {task.name} has {len(task.columns)}"
        )
    if bool(own) != bool(task.labels):
        kinds = [f"{name} {'has labels' if labels else 'is a regression'}"
                 for name, labels in ((found.origin.task_settings.name, own), (task.name, task.labels))]  # fmt: skip
        raise KronaError(f"{found.origin.run_id} can't be scored so: {' and '.join(kinds)}")
    targets = {word: str(number) for word, number in (task.labels or {}).items()}
    renamed: dict[str, str] = {}
    for pair in mapping:
        word, equals, to = pair.partition("=")
        if not equals or word not in own.values() or to not in targets:
            raise KronaError(
                f"--map {pair}: WORD=WORD, from {', '.join(own.values())} to {', '.join(targets) or 'no labels'}"
            )
        renamed[word] = to
    counted = {answer: targets.get(renamed.get(word, word)) for answer, word in own.items()}
    missing = [own[answer] for answer, target in counted.items() if target is None]
    if missing:
        raise KronaError(
            f"{found.origin.run_id} answers {', '.join(own.values())}; task {task.name} has {', '.join(targets)}: "
            f"name the counterpart of {listed(missing)}: --map {missing[0]}={next(iter(targets))}"
        )
    return {answer: target for answer, target in counted.items() if target is not None}


def _answers(trained: Trained, rows: Split, batch_size: int) -> list[str]:
    return [one.answer for one in trained.predict_texts(rows, batch_size=batch_size, probabilities=False)]


def _write(output: Path, rows: Split, predictions: Sequence[str]) -> None:
    columns = ("id", "source", "target", "prediction")
    values = zip(rows.ids, rows.sources, rows.targets, predictions, strict=True)
    text = "".join(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) + "\n" for row in values)
    write_whole(output, lambda part: part.write_text(text, encoding="utf-8"))


def evaluate_runs(
    runs: Sequence[str],
    *,
    data: str | None,
    output: Path | None,
    submission_to: Path | None,
    backbone: str | None,
    batch_size: int | None,
    overwrite: bool,
    outputs: Path,
    console: Console,
    **rows: Any,
) -> None:
    """Score each run, or write the submission of all; ``rows``: further arguments of `evaluate`."""
    overrides = [item for item in runs if "=" in item]
    found = [find(run, outputs=outputs) for run in runs if "=" not in run]
    if submission_to is not None:
        if data is None:
            raise KronaError("--submission needs GLUE's test sets: --data FOLDER of the GLUE download")
        sheets = submission.submission(
            found,
            Path(data),
            submission_to,
            overwrite=overwrite,
            backbone=backbone,
            batch_size=batch_size or BATCH_SIZE,
        )
        for line in submission.lines(sheets, submission_to):
            say(console, line)
        return
    if output is not None:
        require_new(output, overwrite=overwrite)
    if output is not None and len(found) > 1:
        raise KronaError("--output: one run at a time")
    for one in found:
        evaluation = evaluate(
            one, data=data, output=output, overrides=overrides, backbone=backbone, batch_size=batch_size, **rows
        )
        for line in lines(evaluation):
            say(console, line)
