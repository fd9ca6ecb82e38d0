"""`krona evaluate`: compute the scores of finished runs on labelled rows, without training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from krona import tasks
from krona.adapters.find import TrainedRun, find
from krona.adapters.predictor import Predictor, load_predictor
from krona.config import check
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import normalize
from krona.formatting import say
from krona.messages import KronaError, did_you_mean, plural
from krona.metrics.scores import need_scores, score_answers
from krona.metrics.scores.metric import encode
from krona.metrics.statistics import bootstrap, percentile_interval
from krona.runs.folder import require_new
from krona.runs.predictions import invalid_predictions, label_words
from krona.safe_files import json_lines, write_text
from krona.tasks import ROLES, Data, Split, Task
from krona.tasks.data_sources import read_others

BATCH_SIZE = 64  # the default batch size for runs whose own batch size is unknown


@dataclass(frozen=True, kw_only=True)
class RowChoice:
    """The options that select the rows on which a run is scored."""

    split: str = "test"  # a split of the run (dev, test, train), or an official split such as validation
    source: str | None = None  # a file with the task's columns and labels, which is used instead of the task's data
    overrides: Sequence[str] = ()  # overrides of the run's data settings, such as ``data.skip_bad_rows=true``


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of a run on the chosen rows."""

    run_id: str
    task: str
    rows: str  # a description of the rows, such as the name of their split or file
    count: int  # the number of rows
    score: float  # the mean of the task's metrics, as in krona's tables
    interval: tuple[float, float]  # the 95 % confidence interval of the score, from a bootstrap over the rows
    parts: Mapping[str, float]  # the score of each metric, from 0 to 100
    no_label: int  # the number of predictions that are not labels or, for a regression, not numbers
    notes: Sequence[str]  # messages about truncated or skipped rows, and about data that have changed since training

    def lines(self) -> list[str]:
        """Return the evaluation as lines of text."""
        parts = ", ".join(f"{name} {value:.2f}" for name, value in self.parts.items())
        low, high = self.interval
        score = f"{self.score:.2f} [{low:.1f}, {high:.1f}] ({parts}) on {plural(self.count, 'row')}"
        lines = [f"{self.run_id} on {self.task}, {self.rows}: {score}"]
        if self.no_label:
            lines.append(f"  invalid predictions, which are scored as wrong: {self.no_label:,} of {self.count:,}")
        return [*lines, *(f"  {note}" for note in self.notes)]


def evaluate_runs(
    runs: Sequence[str],
    rows: RowChoice,
    *,
    output: Path | None,
    backbone: str | None,
    batch_size: int | None,
    overwrite: bool,
    console: Console,
) -> None:
    """Print the scores of each run.

    Args:
        runs: ids of runs, beginnings of ids, folders or adapter files.
        output: a .jsonl file for the predictions of a single run.

    Raises:
        KronaError: an option is invalid.
    """
    trained_runs = [find(run) for run in runs]
    if rows.source is not None and rows.split != RowChoice.split:
        raise KronaError("--input cannot be used with --split. Omit one of them.")
    if output is not None:
        require_new(output, overwrite=overwrite, source=rows.source)
        if len(trained_runs) > 1:
            raise KronaError("--out needs exactly one run. Give one run, or omit --out.")
    for run in trained_runs:
        evaluation = evaluate(load_predictor(run, backbone=backbone), rows, output=output, batch_size=batch_size)
        for line in evaluation.lines():
            say(console, line)


def evaluate(
    trained: Predictor,
    rows: RowChoice,
    *,
    output: Path | None = None,
    batch_size: int | None = None,
) -> Evaluation:
    """Return the scores of a run.

    Args:
        output: a .jsonl file to which the source, target and prediction of each row are written.
        batch_size: the number of rows in a batch. None means the run's batch size, with which the predictions are
            identical to those of the run, even in bf16.
    """
    run = trained.run
    task, split, where = load_rows(run, rows)
    if trained.family.generates_text and task.decimals is not None:
        split = split.round_targets(task.decimals)
    if batch_size is None:
        trainer = {} if run.result is None else run.result.config["trainer"]
        batch_size = trainer.get("eval_batch_size", BATCH_SIZE)
    scored = bool(trained.family.labels_with_scores) and (output is not None or bool(need_scores(task.metrics)))
    found = trained.predict_split(split, batch_size=batch_size, probabilities=scored)
    predictions = [prediction.answer for prediction in found]
    scores: list[list[float | None]] | None = None
    if scored:  # with six digits; None: not a number
        rows_of_values = [prediction.probabilities.values() for prediction in found]
        scores = [[None if math.isnan(p) else float(f"{p:.6g}") for p in values] for values in rows_of_values]
    if output is not None:
        texts, names = trained.family.texts(split), label_words(dict(task)).values()
        lines = []
        for row, (id, target, prediction) in enumerate(zip(split.ids, split.targets, predictions, strict=True)):
            line: dict[str, Any] = {"id": id, "source": texts[row], "target": target, "prediction": prediction}
            line |= split.others.get(id, {})
            if scores is not None:
                line["scores"] = dict(zip(names, scores[row], strict=True))
            lines.append(line)
        write_text(output, json_lines(lines))
    answers = encode(
        split.targets, predictions, task.target_strings(), split.groups, scores, multilabel=task.is_multilabel
    )
    metrics = score_answers(task.metrics, answers)
    low, high = percentile_interval(bootstrap([answers], list(task.score)))
    return Evaluation(
        run_id=run.origin.run_id,
        task=task.name,
        rows=where,
        count=len(split),
        score=task.table_score(metrics),
        interval=(low, high),
        parts=metrics,
        no_label=len(invalid_predictions(predictions, dict(task))),
        notes=_describe_rows(trained, split, run, rows),
    )


def find_data(run: TrainedRun, overrides: Sequence[str]) -> Data:
    """Return the data settings of a run, changed by overrides."""
    kind = "sample" if run.origin.task_settings.data_kind == "sample" else "hub"
    own = {"kind": kind} if run.result is None else run.result.config["data"]
    keys = [item.lstrip("+").partition("=")[0] for item in overrides]
    if refused := [key for key in keys if not key.startswith("data.")]:
        raise KronaError(f"krona evaluate cannot use {' '.join(refused)}. Overrides must have the form data.KEY=VALUE.")
    if overrides:
        with hydra_session():
            changed = compose_job(normalize(overrides)).config["data"]
        own = {**own, **{key: changed[key] for key in changed if f"data.{key}" in keys}}
    return check.build(Data, "data", own)


def load_rows(run: TrainedRun, rows: RowChoice) -> tuple[Task, Split, str]:
    """Return the task, the rows, and their description for `Evaluation.rows`."""
    task, prefix = run.origin.task_settings, run.origin.task_prefix
    options = replace(find_data(run, rows.overrides), train_rows=None)
    if rows.source is not None:
        changes = {"files": {"train": rows.source}, "sample": None, "split": "given"}
        task = Task.from_config({**dict(task), **changes})
        options = replace(options, path=None)
        split = tasks.read_official_splits(task, options, prefix=prefix)["train"]
        ids, stored = [str(number) for number in range(len(split))], read_others(task, options, split.ids)
        others = {new: stored[old] for new, old in zip(ids, split.ids, strict=True)}
        official = replace(split.official, name=Path(rows.source).name)  # for messages
        return task, replace(split, ids=ids, others=others, official=official), rows.source
    if rows.split in ROLES:
        return task, getattr(tasks.load(task, options, prefix=prefix, others=True), rows.split), rows.split
    splits = tasks.read_official_splits(task, options, prefix=prefix)
    if rows.split not in splits:
        known = dict.fromkeys([*ROLES, *splits])
        raise KronaError(f"--split {rows.split} was not found: {did_you_mean(rows.split, known)}")
    return task, splits[rows.split], rows.split


def _describe_rows(trained: Predictor, split: Split, run: TrainedRun, rows: RowChoice) -> list[str]:
    """Return messages about truncated, skipped and suspicious rows, and about changes of the data since training."""
    cut, longest = trained.count_cut(split), trained.origin.max_source_length
    notes = [f"Sources longer than max_source_length={longest} were cut: {cut:,} of {len(split):,}."] if cut else []
    is_own = rows.source is None
    if not is_own or len(split) == split.official.rows:  # the run's notes already describe the rows of its own splits
        notes += tasks.notes_on_rows(split.official)
    if not is_own or run.result is None or any("skip_bad_rows=" not in item for item in rows.overrides):
        return notes
    recorded = run.result.splits.get(rows.split, {})
    is_subset = rows.split == "train" and run.result.config["data"].get("train_rows") is not None
    if not is_subset and recorded.get("fingerprint", split.fingerprint) != split.fingerprint:
        notes.append(f"the data have changed since training: {rows.split} (read from {split.official.origin})")
    return notes
