"""The LightningModule: T5's loss over label tokens, the optimiser, dev scores and trainable-only checkpoints."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from krona import metrics, surgery
from krona.decoding import greedy
from krona.errors import KronaError
from krona.tasks import Split, Task, Tokenised

Batch = dict[str, Tensor]  # input_ids, attention_mask (B, S); labels (B, T), -100 where there is none


class EpochOrder(Sampler[int]):
    """The order of an epoch's rows: a permutation that depends on the seed and the epoch alone."""

    def __init__(self, rows: int, *, seed: int) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch, a resumed one included."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows

    def epoch_seed(self) -> int:
        return mixed_seed(self.seed, self.epoch)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.epoch_seed())
        return iter(torch.randperm(self.rows, generator=generator).tolist())


def mixed_seed(seed: int, count: int) -> int:
    """One seed from two numbers, far apart for neighbours (64-bit golden-ratio hashing)."""
    return (seed * 0x9E3779B97F4A7C15 + (count + 1) * 0xC2B2AE3D27D4EB4F) % 2**63


class Learner(pl.LightningModule):
    """Tune what trains in ``model``; after each epoch score dev and keep the weights of the best.

    The backward pass is written out (manual optimisation) so that a batch can be split for memory and still give
    the whole batch's gradient: each part's loss is a sum over its label tokens, divided by those of the whole batch.
    """

    strict_loading = False  # a checkpoint holds what trains; `load_state_dict` compares the key sets itself

    def __init__(
        self,
        model: nn.Module,
        *,
        build_optimizer: Callable[..., torch.optim.Optimizer],
        warmup_steps: int,
        total_steps: int,
        gradient_clip: float | None,
        micro_batch_size: int | None,
        seed: int,
        patience: int | None,
        evaluate_dev: Callable[[], dict[str, Any]],
        after_epoch: Callable[["Learner"], None],
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.build_optimizer = build_optimizer
        self.warmup_steps, self.total_steps = warmup_steps, total_steps
        self.gradient_clip = gradient_clip
        self.micro_batch_size = micro_batch_size
        self.seed = seed
        self.patience = patience
        self.evaluate_dev, self.after_epoch = evaluate_dev, after_epoch
        self.dev_curve: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None  # of the best epoch: epoch, choice, dev, weights
        self.seconds = {"train": 0.0, "evaluate": 0.0}
        self.seconds_before = 0.0  # of training and evaluation, in the process that this one goes on from
        self.examples_seen = 0
        self._epoch_loss: list[Tensor] = []

    def on_train_epoch_start(self) -> None:
        self.model.train()  # from_pretrained leaves a model in eval mode, without dropout
        self._epoch_loss, self._epoch_examples, self._epoch_began = [], 0, time.perf_counter()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed(mixed_seed(self.seed, self.global_step))  # dropout: the same after a resume

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        rows = len(batch["labels"])
        tokens = (batch["labels"] != -100).sum()
        loss = torch.zeros((), device=self.device)
        optimizer.zero_grad()
        for part in micro_batches(batch, self.micro_batch_size or rows):
            part_loss = summed_loss(self.model, part) / tokens
            self.manual_backward(part_loss)
            loss += part_loss.detach()
        if self.gradient_clip is not None:
            self.clip_gradients(optimizer, gradient_clip_val=self.gradient_clip, gradient_clip_algorithm="norm")
        optimizer.step()
        self._lr = scheduler.get_last_lr()[0]
        scheduler.step()
        self._epoch_loss.append(loss)
        self._epoch_examples += rows
        if self.global_step >= self.total_steps:  # trainer.max_steps may end it within an epoch
            self.trainer.should_stop = True
        return loss

    def on_train_epoch_end(self) -> None:
        losses = torch.stack(self._epoch_loss).float().cpu()
        if not bool(torch.isfinite(losses).all()):
            first = int((~torch.isfinite(losses)).nonzero()[0]) + 1
            raise KronaError(
                f"the loss became {losses[first - 1].item()} in step {first} of epoch {self.current_epoch + 1}: "
                "a lower optimizer.lr or method.scaling, or trainer.precision=32-true"
            )
        seconds = time.perf_counter() - self._epoch_began
        self.examples_seen += self._epoch_examples
        began = time.perf_counter()
        dev = self.evaluate_dev()
        self.seconds["train"] += seconds
        self.seconds["evaluate"] += time.perf_counter() - began
        self.record(
            {
                "epoch": self.current_epoch + 1,
                "step": self.global_step,
                "loss": losses.mean().item(),
                "lr": self._lr,
                "score": dev["score"],
                "parts": dev["parts"],
                "examples_per_s": self._epoch_examples / seconds,
                "examples_seen": self.examples_seen,
            },
            dev,
        )
        self.after_epoch(self)
        self.trainer.should_stop = self.trainer.should_stop or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        """Whether the last ``patience`` epochs brought no better dev score."""
        if self.patience is None or self.best is None:
            return False
        return len(self.dev_curve) - int(self.best["epoch"]) >= self.patience

    def on_train_start(self) -> None:
        # a run that was killed after its last epoch
        self.trainer.should_stop = self.out_of_patience or self.global_step >= self.total_steps

    def record(self, epoch: dict[str, Any], dev: dict[str, Any]) -> None:
        """Add an epoch to the curve; the best keeps its weights, the earliest on ties."""
        self.dev_curve.append(epoch)
        if self.best is None or dev["choice"] > self.best["choice"]:
            weights = {name: p.detach().cpu().clone() for name, p in surgery.trainable_state(self.model).items()}
            self.best = {"epoch": epoch["epoch"], "choice": dev["choice"], "dev": dev, "weights": weights}

    def restore_best(self) -> None:
        """Put the best epoch's weights back."""
        assert self.best is not None
        surgery.load_trainable_state(self.model, self.best["weights"])

    def configure_optimizers(self) -> Any:
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = self.build_optimizer(trainable)
        warmup, total = self.warmup_steps, self.total_steps

        def factor(step: int) -> float:
            if step < warmup:
                return step / warmup
            return max(0.0, (total - step) / max(1, total - warmup))

        return {
            "optimizer": optimizer,
            "lr_scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, factor),
        }

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """What trains, and nothing else: a checkpoint of kilobytes."""
        return {name: p.detach() for name, p in surgery.trainable_state(self.model).items()}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        try:
            surgery.load_trainable_state(self.model, state_dict)
        except KronaError as error:
            raise KronaError(f"last.ckpt: {error}. overwrite=true starts the run anew") from error
        return nn.modules.module._IncompatibleKeys([], [])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["krona"] = {
            "dev_curve": self.dev_curve,
            "best": self.best,
            "seconds": self.seconds,
            "examples_seen": self.examples_seen,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["krona"].items():
            setattr(self, name, value)
        self.seconds_before = sum(self.seconds.values())


def summed_loss(model: Any, batch: Batch) -> Tensor:
    """Cross entropy in fp32, summed over the label tokens of a batch: T5's loss before its mean."""
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=model.prepare_decoder_input_ids_from_labels(batch["labels"]),
        use_cache=False,
    ).logits  # (B, T, vocabulary)
    return nn.functional.cross_entropy(
        logits.float().flatten(0, 1), batch["labels"].flatten(), ignore_index=-100, reduction="sum"
    )


def micro_batches(batch: Batch, rows: int) -> Iterator[Batch]:
    """A batch in parts of at most ``rows`` rows."""
    for start in range(0, len(batch["labels"]), rows):
        yield {name: values[start : start + rows] for name, values in batch.items()}


def predict(
    model: nn.Module, batches: DataLoader[Any], tokenizer: Any, *, max_new_tokens: int, device: torch.device
) -> list[str]:
    """Greedy predictions as text, in the rows' order: batches of a sampler with an ``order`` are put back."""
    training = model.training
    model.eval()
    texts: list[str] = []
    for batch in batches:
        ids = greedy(
            model,
            batch["input_ids"].to(device),
            batch["attention_mask"].to(device),
            max_new_tokens=max_new_tokens,
        )
        texts += [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    model.train(training)
    order: list[int] | None = getattr(getattr(batches, "sampler", None), "order", None)
    if order is None:
        return texts
    back = sorted(range(len(order)), key=order.__getitem__)  # where each row's prediction is
    return [texts[place] for place in back]


def scored(task: Task, split: Split, predictions: Sequence[str]) -> dict[str, Any]:
    """Scores of a split (0-100): the table's ``score``, the ``choice`` that picks the epoch, their parts."""
    parts = metrics.load(task)(split.targets, predictions)
    return {
        "score": task.table_score(parts),
        "choice": task.choice(parts),
        "parts": parts,
        "predictions": list(predictions),
    }


def longest_target(tokenised: Sequence[Tokenised]) -> int:
    """Tokens of the longest label, the end of sequence among them."""
    return max(len(labels) for split in tokenised for labels in split.rows["labels"])
