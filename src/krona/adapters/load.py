"""A trained adapter on its backbone: `krona.load`.

    import krona

    trained = krona.load("krona-rte-t5_base-32x24-s0-1f3a5c7e9b")
    trained.predict([{"sentence1": "It rains.", "sentence2": "It is wet."}])

Adapters of one backbone share its frozen weights in memory (`krona.backbones.shared`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from krona.adapters.adapter import Adapter
from krona.adapters.find import TrainedRun, find
from krona.adapters.origin import Origin
from krona.backbones.families import Family, max_positions
from krona.backbones.memory import train_in_fp32
from krona.backbones.shared import shared_backbone
from krona.messages import KronaError
from krona.runs.predictions import label_words
from krona.surgery.trainable import adapter_state, copy_into
from krona.tasks import Split, Task
from krona.tasks.values import BadRowError

Row = str | Sequence[str] | Mapping[str, Any]
LONGEST_NUMBER = 16  # tokens of a regression's answer, where its origin has no targets


@dataclass(frozen=True)
class Prediction:
    """The answer to one row.

    answer: the text that the model gave: a label's id ("1"), or a number of a regression. word: the label's word; None
    where the answer is no label, and for a regression. probabilities: word → probability of each label, 1 in all.
    """

    answer: str
    word: str | None
    probabilities: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Trained:
    """A model with a trained adapter in it, and what it was trained as."""

    origin: Origin
    model: PreTrainedModel
    family: Family
    task: Task
    adapter: Path | None

    def predict(self, rows: Iterable[Row], *, batch_size: int = 64) -> list[Prediction]:
        """The answers to rows, in their order.

        Args:
            rows: of each the task's text columns: a dictionary, a sequence in their order, or one text.
            batch_size: rows at once; they are batched by length.

        Raises:
            KronaError: a row without one of the columns, or with something else than text in it.
        """
        if isinstance(rows, str | Mapping):
            raise KronaError("rows are a list: put a single row in brackets")
        return self.predict_texts(self.split_of(rows), batch_size=batch_size)

    def split_of(self, rows: Iterable[Row], *, places: Sequence[str] | None = None) -> Split:
        """Rows as the text that the model reads; ``places``: where each stands, for messages."""
        prefix = self.task.prefixed(self.origin.task_prefix)
        sources, texts = list[str](), list[tuple[str, ...]]()
        for number, row in enumerate(rows):
            try:
                columns = named(row, self.task)
                sources.append(self.task.source(columns, prefix=prefix))
            except BadRowError as error:
                raise KronaError(f"{places[number] if places else f'row {number + 1}'}: {error}") from error
            texts.append(tuple(str(columns[name]) for name in self.task.columns))
        return Split(ids=[str(i) for i in range(len(texts))], sources=sources, targets=[""] * len(texts), texts=texts)

    def predict_texts(self, split: Split, *, batch_size: int = 64, probabilities: bool = True) -> list[Prediction]:
        """`predict` for rows as text, in the order of the split."""
        if not len(split):
            return []
        ids = self.family.sources(split, range(len(split)), longest=self.origin.max_source_length)
        order = sorted(range(len(split)), key=lambda row: len(ids["input_ids"][row]))
        targets, words = self.task.target_strings() or [], label_words(self.origin.task)
        blank = self.family.label(targets[0] if targets else "0.0")
        answers = targets or self.origin.targets
        longest = max((len(self.family.label(answer)) for answer in answers), default=LONGEST_NUMBER)
        found: list[Prediction | None] = [None] * len(split)
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            batch = self.batch(ids, places, label=blank)
            for place, prediction in zip(
                places, self._answers(batch, targets if probabilities else [], words, longest), strict=True
            ):
                found[place] = prediction
        return [prediction for prediction in found if prediction is not None]

    def batch(self, ids: Mapping[str, Any], places: Iterable[int], *, label: list[Any]) -> dict[str, Any]:
        """Some of the tokenised rows as the model's tensors, each with this label."""
        rows = [{**{name: values[place] for name, values in ids.items()}, "labels": label} for place in places]
        return {name: values.to(self.model.device) for name, values in self.family.collate(rows).items()}

    def _answers(
        self, batch: dict[str, Any], targets: list[str], words: Mapping[str, str], longest: int
    ) -> list[Prediction]:
        low = self.origin.precision == "bf16-frozen"
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=low):
            if not targets:
                texts = self.family.answers(self.model, batch, longest=longest)
                return [Prediction(text.strip(), words.get(text.strip()), {}) for text in texts]
            texts, scores = self.family.predict_with_scores(self.model, batch, targets, longest=longest)
        shares = scores.softmax(-1).tolist()
        named = [words[target] for target in targets]
        answers = [text.strip() for text in texts]
        return [
            Prediction(answer, words.get(answer), dict(zip(named, share, strict=True)))
            for answer, share in zip(answers, shares, strict=True)
        ]


def load(
    run: str | Path | TrainedRun,
    *,
    backbone: str | Path | None = None,
    device: str | None = None,
    outputs: Path | None = None,
) -> Trained:
    """Load what a run trained onto its backbone.

    Args:
        run: a run's id, the beginning of it, or its folder; or an adapter's file.
        backbone: a folder with the backbone, if it is not where the run had it.
        device: as torch names it; None: a GPU if there is one.
        outputs: the folder with the runs; None: outputs/.

    Raises:
        KronaError: no such run, an unfinished one, another backbone, a damaged file.
    """
    found = run if isinstance(run, TrainedRun) else find(run, outputs=outputs)
    origin, task = found.origin, found.origin.task_settings
    settings = origin.backbone_settings
    if backbone is not None:
        settings = replace(settings, path=str(backbone))
    if settings.path is not None and not Path(settings.path).expanduser().exists():
        raise KronaError(
            f"{origin.run_id}: its backbone is not at {settings.path}: name its folder: --backbone FOLDER (in Python: "
            "backbone=FOLDER)"
        )
    adapter = None if found.adapter is None else Adapter.load(found.adapter)
    loaded = shared_backbone(settings, task, seed=origin.seed, bf16=origin.precision == "bf16-frozen")
    model: Any = loaded.model
    loaded.family.check_length(max_positions(model.config), source=origin.max_source_length, answer=0)
    if adapter is not None:
        adapter.insert(model)
        if origin.precision == "bf16-frozen":
            train_in_fp32(model)
            copy_into(adapter_state(model, "default"), dict(adapter.tensors))  # again: bf16 has cut a magnitude
        model.requires_grad_(False)
    if origin.precision == "bf16-true":
        model.to(torch.bfloat16)
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    return Trained(origin, model, loaded.family, task, found.adapter)


def named(row: Row, task: Task) -> Mapping[str, Any]:
    """A row as column → text. Raises BadRowError where a column is missing or there are too many texts."""
    if isinstance(row, Mapping):
        missing = [name for name in task.columns if name not in row]
        if missing:
            raise BadRowError(f"no column {missing[0]!r}: task {task.name} reads {columns_of(task)}", kind="")
        return row
    if not isinstance(row, Sequence):
        raise BadRowError(f"{type(row).__name__} is no row of task {task.name}: it reads {columns_of(task)}", kind="")
    texts = [row] if isinstance(row, str) else row
    if len(texts) != len(task.columns):
        raise BadRowError(f"{len(texts)} texts, task {task.name} reads {columns_of(task)}", kind="")
    return dict(zip(task.columns, texts, strict=True))


def columns_of(task: Task) -> str:
    return " and ".join(repr(name) for name in task.columns)
