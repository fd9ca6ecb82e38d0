"""The LightningModule: the loss over labels, the optimiser, dev scores and trainable-only checkpoints."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from krona import surgery
from krona.backbones.families import Batch, Family
from krona.messages import KronaError
from krona.training.batches import mixed_seed
from krona.training.compiled import compiled
from krona.training.evaluation import Evaluation, ScoringModule
from krona.training.plan import Plan
from krona.training.ranks import Ranks


class Learner(ScoringModule):
    """Train what is trainable in ``model``; after each epoch score dev and keep the weights of the best.

    Optimisation is manual, so that a batch can be split, for memory and over ranks, and still give the whole batch's
    gradient: a part's loss is the sum over its labels (the tokens of text labels), divided by the whole batch's number.
    So the ranks add up gradients here (`Ranks`): Lightning's DDP would average the means of unequal parts.

    It logs ``train/loss``, ``val/score`` and ``test/score`` (0-100), and the task's metrics as ``val/f1``. Without a
    validation loader it scores dev by itself: both ways call `Evaluation`, and give the same numbers.

    Args:
        after_backward: called in each step when gradients are complete, before they are clipped.
        after_epoch: called when dev is scored.
    """

    strict_loading = False  # a checkpoint holds what trains; `load_state_dict` compares the key sets itself

    def __init__(
        self,
        model: nn.Module,
        family: Family,
        plan: Plan,
        *,
        evaluate_dev: Callable[[nn.Module], dict[str, Any]],
        evaluate_test: Evaluation | None = None,
        after_backward: Callable[["Learner"], None] = lambda learner: None,
        after_epoch: Callable[["Learner"], None] = lambda learner: None,
        ranks: Ranks,
    ) -> None:
        super().__init__(model, [one for one in (evaluate_dev, evaluate_test) if isinstance(one, Evaluation)])
        self.automatic_optimization = False
        self.family, self.plan, self.ranks = family, plan, ranks
        self.summed_loss = compiled(family.summed_loss) if plan.compile else family.summed_loss
        self.evaluate_dev = evaluate_dev
        self.after_backward, self.after_epoch = after_backward, after_epoch
        self.dev_curve: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None  # epoch, choice (what picked it), dev (its scores), weights
        self.seconds = {"train": 0.0, "evaluate": 0.0}
        self.seconds_before = 0.0  # of training and evaluation, before this process resumed
        self.examples_seen = 0
        self.step_losses: list[float] = []  # of the last epoch's steps
        self.stopped = False  # by patience, max_steps or a callback, as the checkpoint knows it
        # of the current epoch, as is `validated`
        self._epoch_loss: list[Tensor] = []  # of each step, on its device
        self._epoch_examples, self._epoch_began, self._steps_ended = 0, 0.0, 0.0
        self._lr = 0.0  # the last step's

    def configure_optimizers(self) -> Any:
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = self.plan.build_optimizer(trainable)
        schedule = self.plan.build_schedule(optimizer, self.plan.warmup_steps, self.plan.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["krona"].items():
            setattr(self, name, value)
        self.seconds_before = sum(self.seconds.values())

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        try:
            surgery.load_trainable_state(self.model, state_dict)
        except KronaError as error:
            raise KronaError(f"last.ckpt: {error}. overwrite=true starts the run again") from error
        return nn.modules.module._IncompatibleKeys([], [])

    def on_train_start(self) -> None:
        # a resumed run may have ended its last epoch already
        self.trainer.should_stop = self.stopped or self.out_of_patience or self.global_step >= self.plan.total_steps

    def on_train_epoch_start(self) -> None:
        self.model.train()  # from_pretrained leaves a model in eval mode, without dropout
        self._epoch_loss, self._epoch_examples, self._epoch_began = [], 0, time.perf_counter()
        self._steps_ended, self.validated = 0.0, None

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # dropout: the same after a resume, another on each rank
        torch.manual_seed(mixed_seed(self.plan.seed + 2**32 * self.ranks.rank, self.global_step))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        rows = len(batch["labels"])
        tokens = (batch["labels"] != -100).sum()
        self.ranks.add_up([tokens])
        loss = torch.zeros((), device=self.device)
        optimizer.zero_grad()
        parts = list(micro_batches(batch, self.plan.micro_batch_size or max(1, rows)))
        if self.plan.in_step:
            parts += [self.family.no_rows(batch)] * (max(self.ranks.gather(len(parts))) - len(parts))
        for part in parts:
            part_loss = self.summed_loss(self.model, part) / tokens
            self.manual_backward(part_loss)
            loss += part_loss.detach()
        self.ranks.add_up([*self.gradients(), loss])
        self.after_backward(self)
        if self.plan.gradient_clip is not None:
            self.clip_gradients(optimizer, gradient_clip_val=self.plan.gradient_clip, gradient_clip_algorithm="norm")
        optimizer.step()
        self._lr = scheduler.get_last_lr()[0]
        scheduler.step()
        self.log("train/loss", loss, prog_bar=self.trainer.progress_bar_callback is not None)
        self._epoch_loss.append(loss)
        self._epoch_examples += rows
        if self.global_step >= self.plan.total_steps:  # trainer.max_steps may end it within an epoch
            self.trainer.should_stop = True
        return loss

    def on_validation_start(self) -> None:
        super().on_validation_start()
        if self.trainer.state.fn == "fit":
            self.end_steps()

    def end_steps(self) -> None:
        """Note that the epoch's steps are over, and that they took its time; raise if a loss was not finite."""
        if self._steps_ended or not self._epoch_loss:  # noted, or a sanity check before the first step
            return
        # only here: reading a loss in its step would make the host wait for the device each time
        losses = torch.stack(self._epoch_loss).float().cpu()
        if not bool(torch.isfinite(losses).all()):
            first = int((~torch.isfinite(losses)).nonzero()[0]) + 1
            optimizer: Any = self.trainer.optimizers[0]
            raise KronaError(
                f"the loss became {losses[first - 1].item()} in step {first} of epoch {self.current_epoch + 1}: "
                f"a lower optimizer.lr (now {optimizer.defaults.get('lr', '?')}) or method.scaling, or "
                "trainer.precision=32-true"
            )
        self.step_losses = losses.tolist()
        self._loss, self._steps_ended = losses.mean().item(), time.perf_counter()

    def on_train_epoch_end(self) -> None:
        self.end_steps()
        dev = self.validated
        if dev is None:  # no validation loader, or this rank has none of its batches
            dev = self.evaluate_dev(self.model)
            self.log_scores("val", dev)
        seconds = self._steps_ended - self._epoch_began
        self.seconds["train"] += seconds
        self.seconds["evaluate"] += time.perf_counter() - self._steps_ended
        examples = sum(self.ranks.gather(self._epoch_examples))
        self.examples_seen += examples
        self.log("train/loss", self._loss, logger=False)  # loggers have the steps'
        self.record(
            {
                "epoch": self.current_epoch + 1,
                "step": self.global_step,
                "loss": self._loss,
                "lr": self._lr,
                "examples_per_s": examples / seconds,
                "examples_seen": self.examples_seen,
            },
            dev,
        )
        self.after_epoch(self)
        self.trainer.should_stop = self.trainer.should_stop or self.out_of_patience

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Only what trains: a checkpoint of kilobytes."""
        return {name: p.detach() for name, p in surgery.trainable_state(self.model).items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["krona"] = {
            "dev_curve": self.dev_curve,
            "best": self.best,
            "seconds": self.seconds,
            "examples_seen": self.examples_seen,
            "stopped": self.trainer.should_stop,
        }

    def gradients(self) -> list[Tensor]:
        """The gradient of each trainable parameter, zero if this rank has no rows."""
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        for parameter in trainable if self.ranks.size > 1 else ():
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        return [p.grad for p in trainable if p.grad is not None]

    def timed_evaluation(self, evaluate: Callable[[nn.Module], dict[str, Any]]) -> dict[str, Any]:
        """Score a split with the current weights; the seconds count as evaluation."""
        began = time.perf_counter()
        score = evaluate(self.model)
        self.seconds["evaluate"] += time.perf_counter() - began
        return score

    @property
    def out_of_patience(self) -> bool:
        """Whether the last ``patience`` epochs brought no better dev score."""
        if self.plan.patience is None or self.best is None:
            return False
        return len(self.dev_curve) - int(self.best["epoch"]) >= self.plan.patience

    def record(self, epoch: dict[str, Any], dev: dict[str, Any]) -> None:
        """Add an epoch and its dev scores to the curve; keep the weights if it is the best (on ties, the earliest)."""
        self.dev_curve.append({**epoch, **{key: dev[key] for key in ("score", "choice", "parts")}})
        if self.best is None or dev["choice"] > self.best["choice"]:
            weights = {name: p.detach().cpu().clone() for name, p in surgery.trainable_state(self.model).items()}
            self.best = {"epoch": epoch["epoch"], "choice": dev["choice"], "dev": dev, "weights": weights}

    def restore_best(self) -> dict[str, Any]:
        """Put the best epoch's weights into the model; returns that epoch."""
        assert self.best is not None
        surgery.load_trainable_state(self.model, self.best["weights"])
        return self.best


def micro_batches(batch: Batch, rows: int) -> Iterator[Batch]:
    """A batch in parts of at most ``rows`` rows."""
    for start in range(0, len(batch["labels"]), rows):
        yield {name: values[start : start + rows] for name, values in batch.items()}
