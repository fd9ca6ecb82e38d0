"""Predict rows with a trained model: the forward pass that runs and commands share, and the model of a finished run.

Adapters of the same backbone share its frozen weights in memory (`krona.backbones.load`).
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from krona.adapters.adapter_file import Adapter
from krona.adapters.find import Origin, TrainedRun
from krona.backbones.families import Batch, Family
from krona.backbones.families.family import round_probabilities
from krona.backbones.load import shared_backbone
from krona.config.settings import AUTOCAST
from krona.messages import KronaError, KronaWarning, join_names, plural
from krona.metrics.scores.metric import labels_above
from krona.paths import expand
from krona.runs.predictions import label_text, label_words
from krona.runs.run_id import method_change
from krona.surgery.state import adapter_state, copy_into, train_in_fp32
from krona.tasks import Split, Task
from krona.tasks.rows import Sources
from krona.tasks.values import BadRowError

Row = str | Sequence[str] | Mapping[str, Any]
LONGEST_NUMBER = 16  # the maximum number of tokens of a predicted number, if the run's targets are not known


def autocast(model: nn.Module, enabled: bool) -> torch.autocast:
    """Return the context of a forward pass outside of training: in bf16, or in the dtype of the weights."""
    return torch.autocast(next(model.parameters()).device.type, torch.bfloat16, enabled=enabled)


def predict_batch(
    model: nn.Module, family: Family, batch: Batch, labels: Sequence[str], *, longest: int, in_bf16: bool
) -> tuple[list[str], Tensor]:
    """Return the predicted text of each row, and the probability of each label, (B, labels).

    Runs and `krona.load` predict with this function, so their predictions for a batch are identical.

    Args:
        labels: the labels whose probabilities are computed.
        longest: the number of tokens of the longest answer.
        in_bf16: whether to use autocast, as runs with ``bf16-mixed`` and ``bf16-frozen`` do.
    """
    device = next(model.parameters()).device
    inputs = {name: values.to(device) for name, values in batch.items()}
    with autocast(model, in_bf16):
        texts, scores = family.predict_with_scores(model, inputs, labels, longest=longest)
    return [text.strip() for text in texts], family.probabilities(scores)


@dataclass(frozen=True)
class Prediction:
    """The prediction for one row.

    Args:
        answer: the predicted text, which is the id of a label ("1"), or a number for a regression. In a multi-label
            task, it contains several ids ("0 2"), or is "none". Models that generate text can also predict any other
            text.
        word: the name of the label (of several labels: "bug, praise"), or None for a regression or if the predicted
            text is not a label.
        probabilities: the probabilities of the labels by name, whose sum is 1, unless the task is multi-label. Empty
            for a regression, and for multi-label tasks of models that generate text.
    """

    answer: str
    word: str | None
    probabilities: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model that contains a trained adapter, and the run that trained the adapter."""

    run: TrainedRun
    model: PreTrainedModel
    family: Family
    in_bf16: bool = False  # whether `predict_split` uses autocast (`predict_batch`)

    @property
    def origin(self) -> Origin:
        """The adapter's run, task and backbone."""
        return self.run.origin

    @property
    def task(self) -> Task:
        """The task on which the adapter was trained."""
        return self.family.task

    def make_split(self, rows: Iterable[Row], *, locations: Sequence[str] | None = None) -> Split:
        """Convert rows, in the format of `krona.load(…).predict`, to a split.

        ``locations`` contains the location of each row for error messages.
        """
        texts = list[tuple[str, ...]]()
        for index, row in enumerate(rows):
            try:
                texts.append(self.task.texts(_by_column(row, self.task)))
            except BadRowError as error:
                raise KronaError(f"{locations[index] if locations else f'row {index + 1}'}: {error}") from error
        sources = Sources(self.task, texts, self.origin.task_prefix)
        return Split(ids=[str(i) for i in range(len(texts))], sources=sources, targets=[""] * len(texts), texts=texts)

    def predict_split(self, split: Split, *, batch_size: int = 64, probabilities: bool = True) -> list[Prediction]:
        """Return the predictions for the rows of a split, in the order of the rows."""
        if not len(split):
            return []
        lengths = [len(self.family.label(text)) for text in self.origin.targets or self.task.target_strings() or ()]
        longest = max(lengths, default=LONGEST_NUMBER)
        threshold = self.origin.threshold
        targets = self.family.labels_with_scores if probabilities or threshold is not None else []
        label_names = label_words(self.origin.task)
        labels = [label_names[target] for target in targets]
        find_name = cache(partial(label_text, task=self.origin.task))
        ids = self.family.sources(split, range(len(split)), longest=self.origin.max_source_length)
        by_length = sorted(range(len(split)), key=lambda row: len(ids["input_ids"][row]))
        predictions: dict[int, Prediction] = {}
        for start in range(0, len(split), batch_size):
            rows = by_length[start : start + batch_size]
            answers, distributions = predict_batch(
                self.model, self.family, self.batch(ids, rows), targets, longest=longest, in_bf16=self.in_bf16
            )
            if threshold is not None:
                answers = labels_above(threshold, round_probabilities(distributions), targets)
            for row, answer, values in zip(rows, answers, distributions.tolist(), strict=True):
                predictions[row] = Prediction(answer, find_name(answer), dict(zip(labels, values, strict=True)))
        return [predictions[row] for row in range(len(split))]

    def count_cut(self, split: Split) -> int:
        """Return the number of rows that are truncated to the run's max_source_length."""
        ids = self.family.sources(split, range(len(split)), longest=None)["input_ids"]
        return sum(len(row) > self.origin.max_source_length for row in ids)

    def batch(self, ids: Mapping[str, Sequence[list[int]]], rows: Iterable[int]) -> Batch:
        """Return a batch of tokenised rows. A batch needs labels, so every row gets the first label of the task."""
        label = self.family.label((self.task.target_strings() or ["0.0"])[0])
        return self.family.collate(
            [{**{name: values[row] for name, values in ids.items()}, "labels": label} for row in rows]
        )

    @torch.no_grad()
    def logits(self, split: Split) -> Tensor:
        """Return the logits for all rows of a split as one batch, on the CPU, computed in the dtype of the weights."""
        ids = self.family.sources(split, range(len(split)), longest=self.origin.max_source_length)
        batch = {name: values.to(self.model.device) for name, values in self.batch(ids, range(len(split))).items()}
        with autocast(self.model, self.in_bf16 and self.origin.precision == "bf16-frozen"):
            logits: Tensor = self.model(**self.family.inputs(self.model, batch)).logits
        return logits.float().cpu()


def load_predictor(run: TrainedRun, *, backbone: str | Path | None = None, device: str | None = None) -> Predictor:
    """Load the backbone of a run, and insert the run's adapter. See `krona.load` for the arguments and the errors.

    Models in the same process share the backbone's weights.
    """
    origin = run.origin
    if backbone is not None:
        origin = replace(origin, backbone={**origin.backbone, "path": str(backbone)})
    settings = origin.backbone_settings
    if settings.path is not None and not expand(settings.path).exists():
        raise KronaError(
            f"The backbone of {origin.run_id} was not found at {settings.path}. Add its folder with --backbone FOLDER "
            "(in Python: backbone=FOLDER)."
        )
    frozen_in_bf16 = origin.precision == "bf16-frozen"
    adapter = None if run.adapter is None else Adapter.load(run.adapter)
    for change in method_change(run.result) if run.result is not None else ():
        message = f"{origin.run_id}: {change}. The model may compute other values."
        warnings.warn(message, KronaWarning, stacklevel=3)
    loaded = shared_backbone(settings, origin.task_settings, seed=origin.seed, bf16=frozen_in_bf16)
    model: Any = loaded.model
    if adapter is not None:
        adapter.insert(model)
        if frozen_in_bf16:
            train_in_fp32(model)
            # copy the tensors again, because the insertion into a bf16 model rounded the magnitudes
            copy_into(adapter_state(model), dict(adapter.tensors))
        model.requires_grad_(False)
    if origin.precision == "bf16-true":
        model.to(torch.bfloat16)
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    return Predictor(replace(run, origin=origin), model, loaded.family, in_bf16=origin.precision in AUTOCAST)


def _by_column(row: Row, task: Task) -> Mapping[str, Any]:
    columns = f"Task {task.name} reads {quote_columns(task.columns)}."
    if isinstance(row, Mapping):
        missing = [name for name in task.columns if name not in row]
        if missing:
            raise BadRowError(f"the column {missing[0]!r} is missing. {columns}", kind="")
        return row
    texts = row if isinstance(row, list | tuple) else [row]
    if len(texts) != len(task.columns):
        raise BadRowError(
            f"the row has {plural(len(texts), 'text')}. {columns} Give a row as a dict, or as a list of "
            f"{plural(len(task.columns), 'text')}.",
            kind="",
        )
    return dict(zip(task.columns, texts, strict=True))


def quote_columns(columns: Sequence[str]) -> str:
    """Return the quoted column names, such as ``'sentence1' and 'sentence2'``."""
    return join_names([*map(repr, columns)])
