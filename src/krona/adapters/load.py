"""Load a trained adapter and its backbone: `krona.load`.

Adapters of the same backbone share its frozen weights in memory (`krona.backbones.shared`).
"""

import json
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from transformers import PreTrainedModel

from krona.adapters.adapter import Adapter
from krona.adapters.find import TrainedRun, find
from krona.adapters.origin import Origin
from krona.backbones.families import Family, max_positions
from krona.backbones.load import Loaded
from krona.backbones.shared import shared_backbone
from krona.config.suggestions import find_habit
from krona.messages import KronaError, amount, join_names
from krona.paths import expand
from krona.runs.predictions import label_words
from krona.runs.provenance import method_change
from krona.runs.result import Result
from krona.surgery.saving import bake
from krona.surgery.trainable import adapter_state, copy_into, train_in_fp32
from krona.tasks import Split, Task
from krona.tasks.values import BadRowError

if TYPE_CHECKING:
    from krona.adapters.commands.evaluate import Evaluation

Row = str | Sequence[str] | Mapping[str, Any]
LONGEST_NUMBER = 16  # the maximum number of tokens of a predicted number, if the run's targets are not known


@dataclass(frozen=True)
class Prediction:
    """The prediction for one row.

    Args:
        answer: the predicted text, which is the id of a label ("1"), or a number for a regression. Models that generate
            text can also predict any other text.
        word: the name of the label, or None for a regression or if the predicted text is not a label.
        probabilities: the probabilities of the labels by name, whose sum is 1. Empty for a regression.
    """

    answer: str
    word: str | None
    probabilities: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Trained:
    """A model that contains a trained adapter, and the run that trained the adapter."""

    run: TrainedRun
    model: PreTrainedModel
    family: Family

    def __getattr__(self, name: str) -> NoReturn:
        """Raise AttributeError. For a name from peft or transformers, the message suggests krona's method."""
        raise AttributeError(f"'Trained' object has no attribute {name!r}{find_habit(f'Trained.{name}')}")

    @property
    def origin(self) -> Origin:
        """The adapter's run, task and backbone."""
        return self.run.origin

    @property
    def task(self) -> Task:
        """The task on which the adapter was trained."""
        return self.family.task

    def predict(self, rows: Iterable[Row] | Row, *, batch_size: int = 64) -> list[Prediction]:
        """Return the predictions for rows, in the order of the rows.

        Args:
            rows: a list or a DataFrame of rows, or a single row. A row maps column names to texts, or is a list of
                texts in the order of the task's columns. If the task has one column, a row can be a string.
            batch_size: the number of rows in a batch. Rows of similar length are batched together.

        Raises:
            KronaError: a row lacks a column or has the wrong number of texts, or a value is not text.
        """
        if isinstance(rows, str | Mapping):
            rows = [rows]
        return self.predict_texts(self.make_split(_records(rows)), batch_size=batch_size)

    def merge(self) -> PreTrainedModel:
        """Merge the adapter into the weights permanently, and return the model."""
        if self.run.adapter is not None:
            bake(self.model)
        return self.model

    def evaluate(self, rows: Iterable[Mapping[str, Any]] | None = None, *, split: str = "test") -> "Evaluation":
        """Return the scores on labelled rows, or on a split of the run's data, with a confidence interval.

        Args:
            rows: a list or a DataFrame of rows with the task's columns and its label column. None means the rows of
                ``split``.
            split: dev, test or train as the run split its data, or an official split such as validation.

        Raises:
            KronaError: a row lacks a column or has an unknown label, or the split does not exist.
        """
        from krona.adapters.commands.evaluate import RowChoice, evaluate

        if isinstance(rows, str):
            raise KronaError(f"rows={rows!r} is a text, not a list of rows. To score a split, write split={rows!r}.")
        if rows is None:
            return evaluate(self, RowChoice(split=split))
        with tempfile.TemporaryDirectory(prefix="krona-") as folder:
            file = Path(folder) / "rows.jsonl"
            file.write_text("".join(f"{json.dumps(row)}\n" for row in _records(rows)), encoding="utf-8")
            return replace(evaluate(self, RowChoice(source=str(file))), rows="the given rows")

    def export(self, to: str, out: Path | str, *, dtype: str | None = None, overwrite: bool = False) -> list[str]:
        """Write the model or the adapter to a new folder, check the logits, and return messages for the user.

        Args:
            to: ``merged`` (a complete model for transformers), ``peft`` (a folder for peft) or ``adapter`` (krona's
                file).
            out: the folder of the export.
            dtype: the dtype of a merged model: fp32 (None), bf16 or fp16.
            overwrite: replace an earlier export in this folder.

        Raises:
            KronaError: see `krona.adapters.commands.export.export`.
        """
        from krona.adapters.commands.export import export

        return export(self.run, to=to, out=Path(out), dtype=dtype, overwrite=overwrite)

    def make_split(self, rows: Iterable[Row], *, places: Sequence[str] | None = None) -> Split:
        """Convert rows, in the format of `predict`, to a split.

        ``places`` contains the location of each row for error messages.
        """
        sources, texts = list[str](), list[tuple[str, ...]]()
        for number, row in enumerate(rows):
            try:
                texts.append(self.task.texts(_by_column(row, self.task)))
            except BadRowError as error:
                raise KronaError(f"{places[number] if places else f'row {number + 1}'}: {error}") from error
            sources.append(self.task.source(texts[-1], prefix=self.origin.task_prefix))
        return Split(ids=[str(i) for i in range(len(texts))], sources=sources, targets=[""] * len(texts), texts=texts)

    def predict_texts(self, split: Split, *, batch_size: int = 64, probabilities: bool = True) -> list[Prediction]:
        """Return the predictions for the rows of a split, in the order of the rows."""
        if not len(split):
            return []
        lengths = [len(self.family.label(text)) for text in self.task.target_strings() or self.origin.targets]
        longest = max(lengths, default=LONGEST_NUMBER)
        ids = self.family.sources(split, range(len(split)), longest=self.origin.max_source_length)
        by_length = sorted(range(len(split)), key=lambda row: len(ids["input_ids"][row]))
        found: dict[int, Prediction] = {}
        for start in range(0, len(split), batch_size):
            rows = by_length[start : start + batch_size]
            answers = self._answer(self.batch(ids, rows), longest, probabilities)
            found |= zip(rows, answers, strict=True)
        return [found[row] for row in range(len(split))]

    def count_cut(self, split: Split) -> int:
        """Return the number of rows that are truncated to the run's max_source_length."""
        ids = self.family.sources(split, range(len(split)), longest=None)["input_ids"]
        return sum(len(row) > self.origin.max_source_length for row in ids)

    def batch(self, ids: Mapping[str, Any], rows: Iterable[int]) -> dict[str, Any]:
        """Return a batch of tokenised rows. A batch needs labels, so every row gets the first label of the task."""
        label = self.family.label((self.task.target_strings() or ["0.0"])[0])
        chosen = [{**{name: values[row] for name, values in ids.items()}, "labels": label} for row in rows]
        return {name: values.to(self.model.device) for name, values in self.family.collate(chosen).items()}

    def autocast(self) -> torch.autocast:
        """Return the autocast context of a forward pass. bf16 is enabled if the weights have several dtypes."""
        mixed = len({p.dtype for p in self.model.parameters() if p.is_floating_point()}) > 1
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=mixed)

    def _answer(self, batch: dict[str, Any], longest: int, probabilities: bool) -> list[Prediction]:
        targets = self.task.target_strings() if probabilities else None
        words = label_words(self.origin.task)
        with self.autocast():
            texts, scores = self.family.predict_with_scores(self.model, batch, targets or [], longest=longest)
        labels = [words[target] for target in targets or []]
        shares = [dict(zip(labels, row, strict=True)) for row in scores.softmax(-1).tolist()]
        answers = [text.strip() for text in texts]
        return [Prediction(answer, words.get(answer), share) for answer, share in zip(answers, shares, strict=True)]


def load(
    run: str | Path | Result | TrainedRun,
    *,
    backbone: str | Path | None = None,
    device: str | None = None,
    outputs: Path | str | None = None,
) -> Trained:
    """Load the adapter that a run trained, and insert it into its backbone.

    Args:
        run: a run's id, the beginning of its id, its folder or its result, or an adapter file.
        backbone: the folder of the backbone, if the backbone was moved after the run.
        device: the name of a torch device. None means a GPU if one is available.
        outputs: the folder that contains the runs. None means outputs/.

    Raises:
        KronaError: the run was not found or is not finished, the backbone was not found or is not the adapter's
            backbone, or a file is damaged.
    """
    found = run if isinstance(run, TrainedRun) else find(run, outputs=outputs)
    origin = found.origin.with_backbone(backbone)
    frozen_in_bf16 = origin.precision == "bf16-frozen"
    adapter = None if found.adapter is None else Adapter.load(found.adapter)
    for change in method_change(found.result) if found.result is not None else ():
        warnings.warn(f"{origin.run_id}: {change}. The model may compute other values.", stacklevel=2)
    loaded = load_backbone(origin, bf16=frozen_in_bf16)
    model: Any = loaded.model
    if adapter is not None:
        adapter.insert(model)
        if frozen_in_bf16:
            train_in_fp32(model)
            # copy the tensors again, because the insertion into a bf16 model rounded the magnitudes
            copy_into(adapter_state(model, "default"), dict(adapter.tensors))
        model.requires_grad_(False)
    if origin.precision == "bf16-true":
        model.to(torch.bfloat16)
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    return Trained(replace(found, origin=origin), model, loaded.family)


def load_backbone(origin: Origin, *, bf16: bool = False) -> Loaded:
    """Load the backbone that an origin names. Models in the same process share the backbone's weights.

    Raises:
        KronaError: the backbone was not found, or has fewer positions than the ``max_source_length`` of the origin.
    """
    settings = origin.backbone_settings
    if settings.path is not None and not expand(settings.path).exists():
        raise KronaError(
            f"The backbone of {origin.run_id} was not found at {settings.path}. Add its folder with --backbone FOLDER "
            "(in Python: backbone=FOLDER)."
        )
    loaded = shared_backbone(settings, origin.task_settings, seed=origin.seed, bf16=bf16)
    loaded.family.check_length(max_positions(loaded.model.config), source=origin.max_source_length, answer=0)
    return loaded


def _records(rows: Any) -> Any:
    """Return the rows of a pandas DataFrame as a list of dicts, and other rows unchanged."""
    return rows.to_dict("records") if hasattr(rows, "to_dict") else rows


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
            f"the row has {amount(len(texts), 'text')}. {columns} Give a row as a dict, or as a list of "
            f"{amount(len(task.columns), 'text')}.",
            kind="",
        )
    return dict(zip(task.columns, texts, strict=True))


def quote_columns(columns: Sequence[str]) -> str:
    """Return the quoted column names, such as ``'sentence1' and 'sentence2'``."""
    return join_names([*map(repr, columns)])
