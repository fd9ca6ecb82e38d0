"""Evaluation of a model on a split: predictions as text, gathered from all ranks, and their scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from krona import metrics
from krona.backbones.families import Family
from krona.tasks import Split, Task, Tokenised
from krona.training.batches import ShortToLong
from krona.training.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores a model on one split when it is called."""

    task: Task
    split: Split
    batches: DataLoader[Any]  # of a `ShortToLong`
    family: Family
    longest_label: int  # tokens
    ranks: Ranks
    bf16: bool = False  # under autocast, for weights that are in bf16

    def __call__(self, model: nn.Module) -> dict[str, Any]:
        """``score``, ``choice``, ``parts`` and ``predictions`` of `scored`: the same on every rank."""
        order: Any = self.batches.batch_sampler
        assert isinstance(order, ShortToLong)
        training, device = model.training, next(model.parameters()).device
        model.eval()
        texts: list[str] = []
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            for batch in self.batches:
                inputs = {name: values.to(device) for name, values in batch.items()}
                texts += [text.strip() for text in self.family.answers(model, inputs, longest=self.longest_label)]
        model.train(training)
        found = [pair for pairs in self.ranks.gather(list(zip(order.order, texts, strict=True))) for pair in pairs]
        by_row = dict(found)
        assert len(by_row) == len(found) == len(self.split)  # no row lost, none counted twice
        return scored(self.task, self.split, [by_row[row] for row in range(len(by_row))])


def scored(task: Task, split: Split, predictions: Sequence[str]) -> dict[str, Any]:
    """Scores of a split, 0-100.

    ``score``: the number of the paper's tables (MRPC: F1). ``choice``: the mean of all the task's metrics, by which the
    best epoch is chosen on dev (MRPC: F1 and accuracy). ``parts``: those metrics by name.
    """
    parts = metrics.load(task)(split.targets, predictions)
    score, choice = task.table_score(parts), task.choice(parts)
    return {"score": score, "choice": choice, "parts": parts, "predictions": list(predictions)}


def longest_target(tokenised: Sequence[Tokenised]) -> int:
    """Tokens of the longest label, the end of sequence among them."""
    return max(len(labels) for split in tokenised for labels in split.rows["labels"])
