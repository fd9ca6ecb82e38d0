"""Evaluate a model on a split of the data: predict and score the rows, check the weights, and measure the updates."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from krona.adapters import update
from krona.backbones.families import Batch, Family
from krona.messages import KronaError
from krona.metrics.scores import score as compute_scores
from krona.runs.result import Result
from krona.tasks import Split, Task
from krona.training.batches import ShortToLong
from krona.training.devices import Ranks

DRIFT_ROWS = 32  # maximum number of dev rows, evenly spaced, on which drift is measured


@dataclass(frozen=True, kw_only=True)
class SplitEvaluation:
    """An evaluator for one split. Calling the evaluator with a model returns the model's scores."""

    task: Task
    split: Split
    batches: DataLoader[Any]  # its batch sampler is a `ShortToLong`
    family: Family
    max_label_tokens: int
    ranks: Ranks
    bf16: bool = False  # whether the model runs under autocast, because its frozen weights are in bf16

    def __call__(self, model: nn.Module) -> dict[str, Any]:
        """Return the result of `score` for the whole split. Every rank returns the same dict."""
        with self.inference(model):
            texts = [text for batch in self.batches for text in self.predict(model, batch)]
        scores = self.score(texts)
        assert len(scores["predictions"]) == len(self.split)  # no row was lost
        return scores

    @contextmanager
    def inference(self, model: nn.Module) -> Iterator[None]:
        """Put the model into eval mode, turn gradients off, and use the precision of the run's evaluations."""
        training, device = model.training, next(model.parameters()).device
        model.eval()
        try:
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
                yield
        finally:
            model.train(training)

    def predict(self, model: nn.Module, batch: Batch) -> list[str]:
        """Return the predicted text of each row of a batch, independent of the trainer's precision."""
        device = next(model.parameters()).device
        inputs = {name: values.to(device) for name, values in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            return [text.strip() for text in self.family.answers(model, inputs, longest=self.max_label_tokens)]

    def compute_losses(self, model: nn.Module, count: int) -> list[Tensor]:
        """Return the losses of up to ``count`` evenly spaced rows, each summed over the label tokens of the row."""
        rows: Any = self.batches.dataset
        device, count = next(model.parameters()).device, min(count, len(rows))
        chosen = [self.family.collate([rows[number * len(rows) // count]]) for number in range(count)]
        batches = [{name: values.to(device) for name, values in row.items()} for row in chosen]
        return [self.family.summed_loss(model, batch) for batch in batches]

    def score(self, texts: Sequence[str]) -> dict[str, Any]:
        """Score the predictions of all ranks (0-100).

        ``texts`` are the predictions for this rank's rows, in the order of its batches.

        Returns:
            A dict with four keys. ``score`` is the metric that the paper's tables report, for example F1 for MRPC.
            ``choice`` is the mean of all metrics of the task, for example of F1 and accuracy for MRPC. The best epoch
            is the one with the highest ``choice`` on dev. ``parts`` has the values by metric name. ``predictions`` is
            the list of the predicted texts.
        """
        sampler: Any = self.batches.batch_sampler
        assert isinstance(sampler, ShortToLong)
        shares = self.ranks.gather(list(zip(sampler.order, texts, strict=False)))
        by_row = {row: text for share in shares for row, text in share}
        assert len(by_row) == sum(len(share) for share in shares)  # no row was counted twice
        rows = sorted(by_row)
        task, predictions = self.task, [by_row[row] for row in rows]
        targets = [self.split.targets[row] for row in rows]
        groups = None if self.split.groups is None else [self.split.groups[row] for row in rows]
        parts = compute_scores(task.metrics, targets, predictions, task.target_strings(), groups)
        score, choice = task.table_score(parts), task.choice(parts)
        return {"score": score, "choice": choice, "parts": parts, "predictions": predictions}


def require_finite(model: nn.Module, *, lr: float) -> None:
    """Check that all trained weights are finite.

    The learner only checks the loss of each step, which is computed before the update. An invalid last update therefore
    has to be detected here.

    Raises:
        KronaError: a trained weight is not finite.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not bool(torch.isfinite(parameter).all()):
            raise KronaError(
                f"With the weights of the best epoch, {name} is not finite. Try a lower optimizer.lr (now {lr:g}) or "
                "method.scaling, or trainer.precision=32-true."
            )


def measure_updates(result: Result, model: nn.Module, dev: SplitEvaluation) -> None:
    """Measure how the adapter changes the weights, and store the measurements in ``result.learned``.

    `krona.adapters.update` describes the measurements. Drift is measured on up to `DRIFT_ROWS` rows of dev. If the
    measurement fails, a note is added to ``result`` and no error is raised, because the training has already finished.
    """
    try:
        with dev.inference(model):
            measured: Any = update.measure_updates(model, partial(dev.compute_losses, model, DRIFT_ROWS))
            result.learned = measured
    except Exception as error:  # a user's own branch can raise any error
        result.notes.append(f"The updates could not be measured: {type(error).__name__}: {error}")
