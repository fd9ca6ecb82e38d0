"""Define the LightningModule that trains a run's model and keeps the weights of the best epoch."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from krona import surgery
from krona.adapters.fingerprint import Fingerprint
from krona.backbones.families import Batch
from krona.backbones.families.family import IGNORED
from krona.backbones.load import Loaded
from krona.config.settings import RunSettings
from krona.config.target_classes import build_optimizer
from krona.messages import KronaError, shorten
from krona.random_streams import stream_seed
from krona.surgery.state import get_adapter
from krona.training.data import RunData
from krona.training.devices import Ranks, clock
from krona.training.evaluation import Answer, SplitEvaluation
from krona.training.schedule import BASE_GROUP, StepCounts, build_schedule, optimizer_groups

Loss = Callable[[Any, Batch], Tensor]
BACKEND = "inductor"  # of torch.compile


class Learner(pl.LightningModule):
    """A module that trains a model, scores dev after each epoch and keeps the trained weights of the best epoch.

    ``trainer.fit`` and ``trainer.validate`` score dev, ``trainer.test`` scores test, and ``trainer.predict`` returns
    predictions. The module logs ``val/score`` or ``test/score`` (0-100) and the metrics of the task, such as
    ``val/f1``. The module can score only the loaders of ``data``.

    The module uses Lightning's manual optimization. A batch can be split into parts, to save memory or to distribute
    the batch over processes. Splitting a batch does not change the gradient. The loss of a part is the sum over its
    labels, divided by the number of labels in the whole batch. If labels are texts, each token of a label counts as one
    label. With several processes, the loss is also multiplied by their number, because `DDPStrategy` averages the
    gradients.

    The module also logs ``train/loss``. If the trainer has no validation loader, the module itself scores dev after
    each epoch, with the same scores as a validation loader.

    The attribute ``after_backward`` is called in each step, after the backward pass and before gradient clipping.
    """

    # A checkpoint contains only the trainable parameters. `load_state_dict` below checks their names.
    strict_loading = False
    allow_zero_length_dataloader_with_multiple_devices = True  # if dev has few rows, some processes have no rows

    def __init__(
        self,
        settings: RunSettings,
        backbone: Loaded,
        data: RunData,
        steps: StepCounts,
        *,
        ranks: Ranks = Ranks(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__()
        self.model, self.automatic_optimization = backbone.model, False
        self.settings, self.family, self.data, self.steps, self.ranks = settings, backbone.family, data, steps, ranks
        loss = self.family.summed_loss
        self.summed_loss = compile_loss(loss) if settings.trainer.compile else loss
        self.micro_batch_size = settings.micro_batch_size  # maximum number of rows of this rank in one forward pass
        if settings.trainer.accumulate_grad_batches > 1:
            share = -(-settings.batch_size // ranks.size)
            self.micro_batch_size = min(self.micro_batch_size or share, share)
        self.after_backward: Callable[[Learner], None] = lambda learner: None
        self.fingerprint: Fingerprint | None = None  # of the backbone's weights before the training
        self.training_hook = get_adapter(self.model).training_hook  # a penalty, and a function after each step
        self.dev_curve: list[Any] = []  # the items have the keys of `krona.runs.result.Epoch`
        self.best: dict[str, Any] | None = None  # the keys are epoch, choice (the criterion), dev (scores) and weights
        self.seconds = {"train": 0.0, "evaluate": 0.0}
        self.seconds_before = 0.0  # the time of training and evaluation before this process resumed the run
        self.examples_seen = 0
        self.stopped = False  # whether the checkpoint's run was stopped by patience, max_steps or a callback
        self._answers: list[Answer] = []  # this rank's answers, in the order of the loader
        # The attributes below describe the current epoch.
        self.validated: dict[str, Any] | None = None  # the scores of the last validation on all rows of dev
        self._losses: list[Tensor] = []  # the loss of each step, on the device of the model
        self._recorded = 0  # the number of these losses that `_end_steps` has read
        self._examples = 0
        self._began = self._ended = clock()  # of the epoch's steps
        self._lrs: dict[str, float] = {}  # the learning rates of the last step, by group

    def prepare(self) -> None:
        """Compute the initial values that depend on the model or the data, if any (`krona.surgery.prepare`).

        All ranks get the same values.
        """
        if surgery.is_prepared(self.model):
            return
        began, device = time.perf_counter(), next(self.model.parameters()).device
        rows = ({name: values.to(device) for name, values in row.items()} for row in self.data.single_rows())
        with self.data.dev.inference(self.model):
            surgery.prepare(self.model, rows, self.family.summed_loss)
        for tensor in surgery.adapter_state(self.model).values():
            self.ranks.broadcast(tensor.detach())
        self.seconds["prepare"] = time.perf_counter() - began

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.settings.optimizer)(optimizer_groups(self.model, self.settings.optimizer))
        schedule = build_schedule(optimizer, self.steps.warmup, self.steps.total, scheduler=self.settings.scheduler)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def state_dict(self, *args: object, **kwargs: object) -> dict[str, Any]:  # type: ignore[override]
        """Return the state without the backbone's frozen parameters, so that checkpoints stay small."""
        return {name: p.detach() for name, p in surgery.adapter_state(self.model).items()}

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        try:
            surgery.load_adapter_state(self.model, state_dict)
        except KronaError as error:
            raise KronaError(f"last.ckpt cannot be loaded: {error} Start the run again with overwrite=true.") from error
        return nn.modules.module._IncompatibleKeys([], [])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["krona"] = {
            "dev_curve": self.dev_curve,
            "best": self.best,
            "seconds": self.seconds,
            "examples_seen": self.examples_seen,
            "stopped": self.trainer.should_stop,
        }
        if self.training_hook is not None:
            checkpoint["control"] = self.training_hook.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["krona"].items():
            setattr(self, name, value)
        self.seconds_before = sum(value for name, value in self.seconds.items() if name != "train_cpu")
        if self.training_hook is not None:
            self.training_hook.load_state_dict(checkpoint["control"])

    def on_train_start(self) -> None:
        # A run that resumes from the checkpoint of its last epoch has no more steps.
        self.trainer.should_stop = self.stopped or self.out_of_patience or self.global_step >= self.steps.total

    def on_train_epoch_start(self) -> None:
        self.model.train()  # from_pretrained returns a model in eval mode, in which dropout is off
        self._losses, self._examples, self._recorded, self.validated = [], 0, 0, None
        self._began = clock()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # With this seed, the dropout of a step is the same after a resume, and different on each rank.
        torch.manual_seed(stream_seed("dropout", self.settings.seed, rank=self.ranks.rank, step=self.global_step))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        optimizer, scheduler, strategy = self.optimizers(), self.lr_schedulers(), self.trainer.strategy
        assert isinstance(optimizer, LightningOptimizer)
        assert isinstance(scheduler, LRScheduler)
        rows = len(batch["labels"])
        tokens = self.ranks.add_up((batch["labels"] != IGNORED).sum())
        loss = torch.zeros((), device=self.device, dtype=torch.float32)
        optimizer.zero_grad()
        # A process without rows uses a row without labels, because all processes must exchange gradients.
        parts = list(micro_batches(batch, self.micro_batch_size or max(1, rows))) or [self.family.no_rows(batch)]
        penalty = None if self.training_hook is None else self.training_hook.penalty(self.model)
        for number, part in enumerate(parts, start=1):
            part_loss = self.summed_loss(self.model, part) / tokens
            more_follow = number < len(parts)  # DDP averages the gradients after the last part
            with strategy.block_backward_sync() if isinstance(strategy, DDPStrategy) and more_follow else nullcontext():
                scaled_loss = part_loss * self.ranks.size
                self.manual_backward(scaled_loss if penalty is None or number > 1 else scaled_loss + penalty)
            loss += part_loss.detach()
        self.ranks.add_up(loss)
        if penalty is not None:
            loss += penalty.detach()
        self.after_backward(self)
        if (most := self.settings.optimizer.gradient_clip) is not None:
            self.clip_gradients(optimizer.optimizer, gradient_clip_val=most, gradient_clip_algorithm="norm")
        names = [group.get("name", BASE_GROUP) for group in optimizer.param_groups]
        self._lrs = dict(zip(names, map(float, scheduler.get_last_lr()), strict=True))
        optimizer.step()
        if self.training_hook is not None:  # such as AdaLoRA's allocation of ranks
            self.training_hook.after_step(self.model, self.global_step - 1)
        scheduler.step()
        self.log("train/step_loss", loss, prog_bar=self.trainer.progress_bar_callback is not None)
        self._losses.append(loss)
        self._examples += rows
        if self.global_step >= self.steps.total:  # trainer.max_steps can be reached in the middle of an epoch
            self.trainer.should_stop = True
        return loss

    def on_validation_start(self) -> None:
        self._answers = []
        if self.trainer.state.fn == "fit":
            self._end_steps()

    on_test_start = on_validation_start

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._answers += self._find_evaluation().predict(self.model, batch)

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.validated = self._find_evaluation().score(self._answers)
            self.log_scores("val", self.validated)

    def on_test_epoch_end(self) -> None:
        self.log_scores("test", self._find_evaluation().score(self._answers))

    def predict_step(self, batch: Batch, batch_idx: int) -> list[str]:
        """Return the predicted text of each row. ``loader.batch_sampler.order`` lists the positions of the rows."""
        return [text for text, _ in self.data.dev.predict(self.model, batch)]

    def log_scores(self, split: str, scores: dict[str, Any]) -> None:
        parts = {f"{split}/{name}": value for name, value in scores["parts"].items()}
        # During `trainer.fit`, `Tracking` sends the scores to the loggers. `trainer.validate` and `trainer.test` return
        # only the values that are logged here.
        self.log_dict(
            {f"{split}/score": scores["score"], **parts}, logger=False if self.trainer.state.fn == "fit" else None
        )

    def _find_evaluation(self) -> SplitEvaluation:
        loader = self.trainer.test_dataloaders if self.trainer.testing else self.trainer.val_dataloaders
        for evaluation in (self.data.dev, self.data.test):
            if getattr(loader, "batch_sampler", None) is evaluation.batches.batch_sampler:
                return evaluation
        raise KronaError(
            "This module can score only the dev and test loaders that were built with it. To predict other rows, use "
            "krona.load(RUN).predict(rows)."
        )

    def _end_steps(self) -> None:
        """Record the losses of the epoch's steps, and the time at which the steps ended.

        The method is called before each validation and at the end of the epoch. With ``val_check_interval`` of
        Lightning's trainer, a validation can also take place within an epoch.

        Raises:
            KronaError: a loss is not finite.
        """
        if self._recorded == len(self._losses):
            return
        # The losses are read once per epoch. Reading the loss in every step would make the CPU wait for the GPU.
        losses = torch.stack(self._losses).float().cpu()
        if not bool(torch.isfinite(losses).all()):
            first = int((~torch.isfinite(losses)).nonzero()[0]) + 1
            raise KronaError(
                f"The loss became {losses[first - 1].item()} in step {first} of epoch {self.current_epoch + 1}. Try a "
                f"lower optimizer.lr (now {self.settings.optimizer.lr:g}) or method.scaling, or "
                "trainer.precision=32-true."
            )
        self._recorded, self._loss, self.validated = len(losses), losses.mean().item(), None
        self._ended = clock()

    def on_train_epoch_end(self) -> None:
        self._end_steps()
        dev = self.validated
        if dev is None:  # there was no validation after the last step, or this rank had no validation batch
            dev = self.data.dev(self.model)
            self.log_scores("val", dev)
        seconds, cpu_seconds = (end - began for end, began in zip(self._ended, self._began, strict=True))
        self.seconds["train"] += seconds
        self.seconds["evaluate"] += time.perf_counter() - self._ended[0]
        if self.device.type == "cpu":
            self.seconds["train_cpu"] = self.seconds.get("train_cpu", 0.0) + cpu_seconds
        examples = sum(self.ranks.gather(self._examples))
        factors = self.settings.optimizer.lr_factors
        group, lr = next(iter(self._lrs.items()))
        self.examples_seen += examples
        self.log("train/loss", self._loss, logger=False)  # `Tracking` logs the values of the epoch
        self.record(
            {
                "epoch": self.current_epoch + 1,
                "step": self.global_step,
                "loss": self._loss,
                "lr": lr / factors.get(group, 1.0),
                **({"lr_by_group": self._lrs} if factors else {}),
                "examples_per_s": examples / seconds,
                "examples_seen": self.examples_seen,
            },
            dev,
        )
        self.trainer.should_stop = self.trainer.should_stop or self.out_of_patience

    def record(self, epoch: dict[str, Any], dev: dict[str, Any]) -> None:
        """Add an epoch and its dev scores to ``dev_curve``. If the epoch is the best so far, store it as ``best``.

        If several epochs have the same best score, ``best`` is the earliest of them.
        """
        self.dev_curve.append({**epoch, **{key: dev[key] for key in ("score", "choice", "parts")}})
        if self.best is None or dev["choice"] > self.best["choice"]:
            weights = {name: p.detach().cpu().clone() for name, p in surgery.trainable_state(self.model).items()}
            self.best = {"epoch": epoch["epoch"], "choice": dev["choice"], "dev": dev, "weights": weights}

    @property
    def out_of_patience(self) -> bool:
        """True if none of the last ``patience`` epochs improved the dev score."""
        patience = self.settings.trainer.patience
        if patience is None or self.best is None:
            return False
        return len(self.dev_curve) - int(self.best["epoch"]) >= patience

    def restore_best(self) -> dict[str, Any]:
        """Load the weights of the best epoch into the model, and return ``best``."""
        assert self.best is not None
        surgery.copy_into(surgery.trainable_state(self.model), self.best["weights"])
        return self.best


def micro_batches(batch: Batch, rows: int) -> Iterator[Batch]:
    """Yield the parts of a batch. Each part has at most ``rows`` rows."""
    for start in range(0, len(batch["labels"]), rows):
        yield {name: values[start : start + rows] for name, values in batch.items()}


def compile_loss(loss: Loss) -> Loss:
    """Return a function that computes ``loss(model, batch)`` as one compiled graph.

    The graph is compiled at the first call, and then used for batches with any number of rows and any length. Only
    batches of a single row and batches whose labels have fewer than three tokens get their own graphs.

    Raises:
        KronaError: torch cannot compile the model. The returned function raises this error at its first call.
    """
    from torch._dynamo import maybe_mark_dynamic  # imported here because the import takes a second and is rarely needed
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    torch.compiler.reset()  # torch limits the number of graphs per process, and includes those of earlier runs
    graph: Loss = torch.compile(loss, fullgraph=True, backend=BACKEND)

    def call(model: nn.Module, batch: Batch) -> Tensor:
        for values in batch.values():
            maybe_mark_dynamic(values, [0, 1])
        try:
            return graph(model, batch)
        except (TorchDynamoException, InductorError) as error:
            why = shorten(" ".join(str(error).split()), 200)
            raise KronaError(
                f"trainer.compile=true, but torch could not compile this model: {why}. On a CPU, torch needs a C++ "
                "compiler. To train without compilation, set trainer.compile=false."
            ) from error

    return call
