"""The family of encoders (BERT, RoBERTa, DeBERTa, MPNet, ModernBERT), whose head predicts a class or a number."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase

from krona.backbones.families.family import IGNORED, Batch, Family, pad_batch, pad_rows
from krona.metrics.scores.metric import format_set
from krona.tasks import Split, Task


class Encoder(Family):
    """The family of encoders.

    For a classification, the loss is the cross entropy and the prediction is the class with the highest logit. In a
    multi-label task, the loss is the binary cross-entropy, and the predictions are the classes with a positive logit.
    For a regression, the loss is the squared error and the prediction is the output of the head.
    """

    auto = AutoModelForSequenceClassification
    generates_text = False
    scored_labels = 50  # the probabilities take no time, but their file takes space

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(task, tokenizer)
        self.targets: list[str] | None = task.target_strings()  # None for a regression
        self.label_type = "float32" if self.targets is None else "int32"
        self.key = f"encoder 2 {','.join(self.targets or ['number'])} {','.join(task.columns)}"
        self.key += " multilabel" * self.multilabel

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        first, *others = ([split.texts[row][i] for row in rows] for i in range(len(self.task.columns)))
        second = (
            [[f" {self.tokenizer.sep_token} ".join(texts) for texts in zip(*others, strict=True)]] if others else []
        )
        return dict(self.tokenize(first, *second, longest=longest, return_attention_mask=False))

    def texts(self, split: Split) -> Sequence[str]:
        return [f" {self.tokenizer.sep_token} ".join(texts) for texts in split.texts]

    def label(self, target: str) -> list[Any]:
        if self.targets is None:
            return [float(target)]
        if self.multilabel:
            return [int(label in target.split()) for label in self.targets]
        return [self.targets.index(target)]

    def collate(self, rows: Sequence[Mapping[str, Sequence[Any]]]) -> Batch:
        batch = pad_batch(rows, self.tokenizer.pad_token_id)
        if self.targets is None:
            numbers = pad_rows([row["labels"] for row in rows], 0.0, dtype=torch.float32)  # (B, 1), without padding
            batch["labels"] = numbers.view(torch.int32)  # with bf16-true, Lightning would round float tensors
        if rows and "token_type_ids" in rows[0]:
            batch["token_type_ids"] = pad_rows([row["token_type_ids"] for row in rows], 0)
        return batch

    def inputs(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        return {name: values for name, values in batch.items() if name not in ("labels", "weights")}

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        return super().logits(model, batch).float()  # (B, classes)

    def summed_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        if self.multilabel:
            logits, labels = self.logits(model, batch), batch["labels"]  # (B, classes)
            targets = labels.clamp(min=0).expand_as(logits).float()  # `no_rows` has one ignored label
            losses = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            return losses.masked_fill(labels == IGNORED, 0).sum()
        if self.targets is not None:
            return super().summed_loss(model, batch)
        outputs, labels = self.logits(model, batch).flatten(), batch["labels"].flatten()
        return ((outputs - labels.view(torch.float32))[labels != IGNORED] ** 2).sum()

    @torch.no_grad()
    def predict_with_scores(
        self, model: nn.Module, batch: Batch, targets: Sequence[str], *, longest: int
    ) -> tuple[list[str], Tensor]:
        logits = self.logits(model, batch)
        indices = [self.targets.index(target) for target in targets] if self.targets is not None else []
        log_probabilities = nn.functional.logsigmoid(logits) if self.multilabel else logits.log_softmax(-1)
        return self.decode_labels(logits), log_probabilities[:, indices]

    def decode_labels(self, logits: Tensor) -> list[str]:
        """Return the predicted class or number of each row as text, for the head's outputs (B, classes)."""
        if self.targets is None:
            values = logits.float().flatten().cpu().numpy()
            # use the shortest text that identifies the float32 number
            return [np.format_float_positional(value, trim="0") for value in values]
        if self.multilabel:
            rows = [zip(self.targets, row, strict=True) for row in (logits > 0).tolist()]
            return [format_set(target for target, chosen in row if chosen) for row in rows]
        return [self.targets[index] for index in logits.argmax(-1).tolist()]
