"""Lightning's Trainer of a run: its device, its checkpoints, and the settings that are passed through to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from krona import surgery
from krona.config.settings import Run
from krona.messages import KronaError, shorten
from krona.training.callbacks import build_callbacks
from krona.training.data import RunData
from krona.training.files import RunFiles, WholeCheckpoints
from krona.training.learner import Learner

PASSED = ("limit_train_batches", "log_every_n_steps", "enable_model_summary", "num_sanity_val_steps", "detect_anomaly",
          "deterministic", "benchmark")  # fmt: skip
PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler,
}  # fmt: skip


def build_trainer(
    settings: Run, files: RunFiles, callbacks: Sequence[pl.Callback], *, logger: Logger | None = None
) -> pl.Trainer:
    """Build Lightning's trainer for this rank, with ``callbacks`` and those of the config.

    Each rank has its own trainer, which knows one device. Lightning's strategies would average gradients with equal
    weights; `Ranks` sums them exactly over the whole batch, also if ranks have different numbers of rows or tokens.
    """
    options, ranks, folder = settings.trainer, files.ranks, files.folder
    callbacks = [*callbacks, *build_callbacks(settings, first=ranks.first)]
    own_bar = any(isinstance(one, ProgressBar) for one in callbacks)
    profiler = None
    if ranks.first:
        last_epoch = ModelCheckpoint(  # to resume from; it contains the weights of the best epoch too
            dirpath=folder, filename="last", monitor=None, save_on_train_epoch_end=True, enable_version_counter=False
        )
        callbacks.append(last_epoch)
        if options.profiler is not None:
            profiler = PROFILERS[options.profiler](dirpath=folder, filename="profile")
    precision: Any = "bf16-mixed" if options.frozen_in_bf16 else options.precision
    checkpoints = WholeCheckpoints() if files.claim is None else WholeCheckpoints(files.claim.write)
    # max_steps is handled by the learner: Lightning resumes a run that counts steps in the middle of an epoch
    try:
        return pl.Trainer(
            max_epochs=options.max_epochs,
            precision=precision,
            accelerator=options.accelerator,
            devices=1 if ranks.device is None else [ranks.device],
            callbacks=callbacks,
            enable_checkpointing=ranks.first,
            plugins=[checkpoints, LightningEnvironment()],  # without it Lightning looks for a cluster's environment
            logger=logger or False,
            profiler=profiler,
            enable_progress_bar=own_bar,  # Lightning's default bar is off: krona has its own
            use_distributed_sampler=False,
            inference_mode=False,  # tensors that a model keeps from an evaluation must be usable in training
            default_root_dir=folder,
            **{name: getattr(options, name) for name in PASSED},
        )
    except MisconfigurationException as error:
        raise _format_error(error) from error


def train(trainer: pl.Trainer, learner: Learner, data: RunData, *, checkpoint: Path | None) -> None:
    """Train to the end. If nothing trains, score the backbone as epoch 0."""
    device: Any = trainer.strategy.root_device
    trains = learner.plan.total_steps > 0 and bool(surgery.trainable_state(learner.model))
    if trains:
        path = None if checkpoint is None else str(checkpoint)
        try:
            trainer.fit(learner, data.train, data.dev.batches, ckpt_path=path, weights_only=True)
        except MisconfigurationException as error:  # a callback or a setting that Lightning refuses
            raise _format_error(error) from error
    learner.to(device)  # Lightning leaves the model on the CPU
    if not trains:
        learner.record({"epoch": 0, "step": 0}, data.dev(learner.model))


def _format_error(error: MisconfigurationException) -> KronaError:
    return KronaError(f"Lightning refuses these settings: {shorten(' '.join(str(error).split()), 300)}")
