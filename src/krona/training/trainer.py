"""Build Lightning's trainer and callbacks for a run, and train with them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
)
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from krona import surgery
from krona.config.settings import Run
from krona.config.targets import build
from krona.messages import KronaError, did_you_mean, shorten
from krona.training.checkpoint import AtomicCheckpoints
from krona.training.data import RunData
from krona.training.learner import Learner
from krona.training.run_files import RunFiles

PASSED = ("log_every_n_steps", "enable_model_summary", "num_sanity_val_steps", "detect_anomaly", "deterministic",
          "benchmark")  # fmt: skip
PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler,
}  # fmt: skip
FIRST_RANK_ONLY = (LearningRateMonitor, ModelCheckpoint, ModelSummary, ProgressBar)


def build_callbacks(settings: Run, *, first: bool = True) -> list[pl.Callback]:
    """Build the callbacks of a run. Only on the ``first`` rank, they include those that print or write files.

    Raises:
        KronaError: a callback cannot be built, monitors a value that is not logged, or needs a logger.
    """
    callbacks = {name: build(values, f"callbacks.{name}", "callback") for name, values in settings.callbacks.items()}
    only_lightnings = all(type(one).__module__.startswith("pytorch_lightning.") for one in callbacks.values())
    logged = ["train/loss", "val/score", *(f"val/{name}" for name in settings.task.metrics)]
    for name, callback in callbacks.items():
        # a user's own callback may log more values
        monitor = getattr(callback, "monitor", None) if only_lightnings else None
        if isinstance(callback, EarlyStopping | ModelCheckpoint) and monitor not in (None, *logged):
            raise KronaError(
                f"callbacks.{name}.monitor={monitor} is not a logged value: {did_you_mean(str(monitor), logged)}"
            )
        if isinstance(callback, LearningRateMonitor) and not settings.logger:
            raise KronaError(
                f"callbacks.{name} is a LearningRateMonitor, which needs a logger. Add logger=wandb or "
                "+logger.c._target_=pytorch_lightning.loggers.CSVLogger. Without a logger, metrics.csv contains the "
                "learning rate of each epoch."
            )
    return [one for one in callbacks.values() if first or not isinstance(one, FIRST_RANK_ONLY)]


class AfterEpoch(pl.Callback):
    """Calls ``function`` after each epoch.

    It calls it when the next epoch starts or the training ends. Lightning has then written the epoch's checkpoint and
    logged the values of all callbacks. At its own hook for the end of an epoch, this is not the case yet.
    """

    def __init__(self, function: Callable[[Learner], None]) -> None:
        self.function = function
        self._epochs = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Learner)
        self._epochs = len(pl_module.dev_curve)  # the finished epochs of a resumed run

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Learner)
        if len(pl_module.dev_curve) > self._epochs:
            self._epochs = len(pl_module.dev_curve)
            self.function(pl_module)

    on_train_end = on_train_epoch_start  # for the last epoch


def build_trainer(
    settings: Run, files: RunFiles, callbacks: Sequence[pl.Callback], *, loggers: Sequence[Logger] = ()
) -> pl.Trainer:
    """Build Lightning's trainer for this rank, with the given ``callbacks`` and the callbacks of the config.

    Each rank has its own trainer, which uses one device. `krona.training.ranks` explains why.
    """
    options, ranks, folder = settings.trainer, files.ranks, files.run.path
    callbacks = [*callbacks, *build_callbacks(settings, first=ranks.first)]
    own_bar = any(isinstance(one, ProgressBar) for one in callbacks)
    profiler = None
    if ranks.first:
        last_epoch = ModelCheckpoint(  # for resuming the run; also contains the weights of the best epoch
            dirpath=folder, filename="last", monitor=None, save_on_train_epoch_end=True, enable_version_counter=False
        )
        callbacks.append(last_epoch)
        if options.profiler is not None:
            profiler = PROFILERS[options.profiler](dirpath=folder, filename="profile")
    precision: Any = "bf16-mixed" if options.frozen_in_bf16 else options.precision
    checkpoints = AtomicCheckpoints() if files.claim is None else AtomicCheckpoints(files.claim.write)
    # The learner handles max_steps. With Lightning's own max_steps, a run would resume in the middle of an epoch.
    try:
        return pl.Trainer(
            max_epochs=options.max_epochs,
            precision=precision,
            accelerator=options.accelerator,
            devices=1 if ranks.device is None else [ranks.device],
            callbacks=callbacks,
            enable_checkpointing=ranks.first,
            plugins=[checkpoints, LightningEnvironment()],  # LightningEnvironment: do not detect a cluster
            logger=list(loggers) or False,
            profiler=profiler,
            enable_progress_bar=own_bar,  # krona replaces Lightning's default bar
            use_distributed_sampler=False,
            inference_mode=False,  # a model may keep tensors from an evaluation and use them in training
            default_root_dir=folder,
            **{name: getattr(options, name) for name in PASSED},
        )
    except (MisconfigurationException, RuntimeError) as error:  # RuntimeError: two callbacks with the same settings
        raise _format_error(error) from error


def train(trainer: pl.Trainer, learner: Learner, data: RunData, *, checkpoint: Path | None) -> None:
    """Train, from a checkpoint if it is given, until the end or until training stops early.

    If there are no training steps or no trainable parameters, score the model on dev and record the scores as epoch 0.
    """
    device: Any = trainer.strategy.root_device
    trains = learner.steps.total > 0 and bool(surgery.trainable_state(learner.model))
    if trains:
        try:
            trainer.fit(learner, data.train, data.dev.batches, ckpt_path=checkpoint, weights_only=True)
        except MisconfigurationException as error:  # Lightning does not accept a callback or a setting
            raise _format_error(error) from error
    learner.to(device)  # Lightning moved the model to the CPU
    if not trains:
        trainer.strategy.precision_plugin.convert_module(learner)  # to bf16 with bf16-true, as trainer.fit does
        learner.record({"epoch": 0, "step": 0}, data.dev(learner.model))


def _format_error(error: Exception) -> KronaError:
    return KronaError(f"Lightning does not accept these settings: {shorten(' '.join(str(error).split()), 300)}")
