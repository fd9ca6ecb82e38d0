"""Evaluate a model on a split of the data: predict and score the rows, check the weights, and measure the updates."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler

from krona.adapters.predictor import autocast, predict_batch
from krona.backbones.families import Batch, Family
from krona.backbones.families.family import round_probabilities
from krona.messages import KronaError
from krona.metrics.scores import need_scores
from krona.metrics.scores import score as compute_scores
from krona.metrics.scores.metric import choose_threshold, labels_above
from krona.tasks import Split, Task
from krona.training.devices import Ranks

Answer = tuple[str, list[float] | None]  # the predicted text, and the probability of each label


class EvaluationBatches(Sampler[list[int]]):
    """The batch sampler for evaluation. All rows are sorted by length, so that batches need little padding.

    With N ranks, each rank evaluates every N-th batch. Smaller batches are used if they divide the work more evenly,
    because all ranks wait for the slowest rank. If there are fewer rows than ranks, some ranks get no batch.

    Attributes:
        order: the positions of this rank's rows in the split, in the order in which the rows are evaluated.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, ranks: Ranks) -> None:
        rows = sorted(range(len(lengths)), key=lengths.__getitem__)
        size = max(1, min(batch_size, -(-len(rows) // ranks.size)))
        self.batches = chunks(rows, size)[ranks.rank :: ranks.size]
        self.order = [row for batch in self.batches for row in batch]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


@dataclass(frozen=True, kw_only=True)
class SplitEvaluation:
    """An evaluator for one split. Calling the evaluator with a model returns the model's scores."""

    task: Task
    split: Split
    batches: DataLoader[Any]  # its batch sampler is an `EvaluationBatches`
    family: Family
    max_label_tokens: int
    ranks: Ranks
    autocast: bool = False  # whether the model runs under autocast to bf16, as in training

    def __call__(self, model: nn.Module) -> dict[str, Any]:
        """Return the result of `score` for the whole split. Every rank returns the same dict."""
        with self.inference(model):
            answers = [answer for batch in self.batches for answer in self.predict(model, batch)]
        scores = self.score(answers)
        assert len(scores["predictions"]) == len(self.split)  # no row was lost
        return scores

    @contextmanager
    def inference(self, model: nn.Module) -> Iterator[None]:
        """Put the model into eval mode, turn gradients off, and use the precision of the run's evaluations."""
        training = model.training
        model.eval()
        try:
            with torch.no_grad(), autocast(model, self.autocast):
                yield
        finally:
            model.train(training)

    @cached_property
    def scored_labels(self) -> list[str]:
        """The labels whose probabilities are computed: all labels of the task, or none."""
        labels = self.family.labels_with_scores
        return labels if len(labels) <= self.family.scored_labels or need_scores(self.task.metrics) else []

    def predict(self, model: nn.Module, batch: Batch) -> list[Answer]:
        """Return the answer for each row of a batch, in the run's precision."""
        labels = self.scored_labels
        texts, probabilities = predict_batch(
            model, self.family, batch, labels, longest=self.max_label_tokens, in_bf16=self.autocast
        )
        rounded = round_probabilities(probabilities) if labels else [None] * len(texts)
        return list(zip(texts, rounded, strict=True))

    def score(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """Score the predictions of all ranks (0-100).

        ``answers`` are the answers for this rank's rows, in the order of its batches.

        Returns:
            A dict with five keys. ``score`` is the metric that the paper's tables report, for example F1 for MRPC.
            ``choice`` is the mean of the metrics that select the epoch, for example of F1 and accuracy for MRPC. The
            best epoch is the one with the highest ``choice`` on dev. ``parts`` has the values by metric name.
            ``predictions`` is the list of the predicted texts. ``scores`` is the list of their probabilities, or None.
        """
        sampler = self.batches.batch_sampler
        assert isinstance(sampler, EvaluationBatches)
        by_rank = self.ranks.gather(list(zip(sampler.order, answers, strict=False)))
        by_row = {row: answer for answers in by_rank for row, answer in answers}
        assert len(by_row) == sum(len(answers) for answers in by_rank)  # no row was counted twice
        rows = sorted(by_row)
        known = [values for row in rows if (values := by_row[row][1]) is not None]
        return self.score_rows(rows, [by_row[row][0] for row in rows], known or None)

    def score_rows(
        self, rows: Sequence[int], predictions: list[str], scores: list[list[float]] | None
    ) -> dict[str, Any]:
        """Score the predictions of some rows of the split. The result is that of `score`."""
        task = self.task
        targets = [self.split.targets[row] for row in rows]
        groups = None if self.split.groups is None else [self.split.groups[row] for row in rows]
        metrics = compute_scores(
            task.metrics, targets, predictions, task.target_strings(), groups, scores, multilabel=task.is_multilabel
        )
        score, criterion = task.table_score(metrics), task.criterion(metrics)
        return {"score": score, "choice": criterion, "parts": metrics, "predictions": predictions, "scores": scores}

    def choose_threshold(self, scored: dict[str, Any]) -> float | None:
        """Return the threshold of a multi-label task with the best `Task.criterion`, from the result of `score`.

        Return None for other tasks, and if the probabilities are not known.
        """
        if not self.task.is_multilabel or scored["scores"] is None:
            return None
        rows, probabilities = range(len(self.split)), scored["scores"]

        def score(predictions: list[str]) -> float:
            return float(self.score_rows(rows, predictions, probabilities)["choice"])

        return choose_threshold(score, probabilities, self.scored_labels)

    def apply_threshold(self, threshold: float, scored: dict[str, Any]) -> dict[str, Any]:
        """Return the result of `score` with the labels whose probability is above the threshold."""
        predictions = labels_above(threshold, scored["scores"], self.scored_labels)
        return self.score_rows(range(len(self.split)), predictions, scored["scores"])


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


def chunks(rows: Sequence[int], size: int) -> list[list[int]]:
    """Divide rows into lists of ``size`` rows. The last list may be shorter."""
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]
