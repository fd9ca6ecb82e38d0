"""Evaluation of a model on a split: predictions as text, gathered from all ranks, their scores, Lightning's hooks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from krona import metrics
from krona.backbones.families import Batch, Family
from krona.messages import KronaError
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
        training = model.training
        model.eval()
        texts = [text for batch in self.batches for text in self.answers(model, batch)]
        model.train(training)
        found = self.scores(texts)
        assert len(found["predictions"]) == len(self.split)  # no row lost
        return found

    def answers(self, model: nn.Module, batch: Batch) -> list[str]:
        """The model's answer to each row of a batch; independent of the trainer's precision."""
        device = next(model.parameters()).device
        inputs = {name: values.to(device) for name, values in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            return [text.strip() for text in self.family.answers(model, inputs, longest=self.longest_label)]

    def scores(self, texts: Sequence[str]) -> dict[str, Any]:
        """As ``__call__``, from this rank's answers in the order of its batches; of fewer batches, of their rows."""
        order: Any = self.batches.batch_sampler
        assert isinstance(order, ShortToLong)
        found = [pair for pairs in self.ranks.gather(list(zip(order.order, texts, strict=False))) for pair in pairs]
        by_row = dict(found)
        assert len(by_row) == len(found)  # none counted twice
        rows = sorted(by_row)
        return scored(self.task, [self.split.targets[row] for row in rows], [by_row[row] for row in rows])


class ScoringModule(pl.LightningModule):
    """The hooks of ``trainer.validate``, ``test`` and ``predict``, and of the validation loop of ``fit``.

    They log ``val/score`` or ``test/score`` (0-100) and the task's metrics, as ``val/f1``.

    Args:
        evaluations: of the splits whose loaders may be given to the trainer.
    """

    def __init__(self, model: nn.Module, evaluations: Sequence[Evaluation]) -> None:
        super().__init__()
        self.model, self.evaluations = model, evaluations
        self.validated: dict[str, Any] | None = None  # the last validation's scores, on all rows of dev
        self._texts: list[str] = []  # this rank's answers, in the loader's order

    def on_validation_start(self) -> None:
        self._texts = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._texts += self._of(self.trainer.val_dataloaders).answers(self.model, batch)

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.validated = self._of(self.trainer.val_dataloaders).scores(self._texts)
            self.log_scores("val", self.validated)

    def on_test_start(self) -> None:
        self._texts = []

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._texts += self._of(self.trainer.test_dataloaders).answers(self.model, batch)

    def on_test_epoch_end(self) -> None:
        self.log_scores("test", self._of(self.trainer.test_dataloaders).scores(self._texts))

    def predict_step(self, batch: Batch, batch_idx: int) -> list[str]:
        """The answer to each row, as text, in the loader's order: ``loader.batch_sampler.order`` has the rows."""
        return self.evaluations[0].answers(self.model, batch)

    def log_scores(self, split: str, scores: dict[str, Any]) -> None:
        parts = {f"{split}/{name}": value for name, value in scores["parts"].items()}
        self.log_dict({f"{split}/score": scores["score"], **parts})

    def _of(self, loader: Any) -> Evaluation:
        for one in self.evaluations:
            if getattr(loader, "batch_sampler", None) is one.batches.batch_sampler:
                return one
        raise KronaError(
            "this module scores its own dev and test loaders only; krona.load(RUN).predict(rows) answers other rows"
        )


def scored(task: Task, targets: Sequence[str], predictions: Sequence[str]) -> dict[str, Any]:
    """Scores of a split, 0-100.

    ``score``: the number of the paper's tables (MRPC: F1). ``choice``: the mean of all the task's metrics, by which the
    best epoch is chosen on dev (MRPC: F1 and accuracy). ``parts``: those metrics by name.
    """
    parts = metrics.load(task)(targets, predictions)
    score, choice = task.table_score(parts), task.choice(parts)
    return {"score": score, "choice": choice, "parts": parts, "predictions": list(predictions)}


def max_label_tokens(tokenised: Sequence[Tokenised]) -> int:
    """Tokens of the longest label, the end of sequence among them."""
    return max(len(labels) for split in tokenised for labels in split.rows["labels"])
