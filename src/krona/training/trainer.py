"""Lightning's Trainer of a run: its device, its checkpoints, and the settings that pass through to it."""

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
from krona.messages import KronaError, shortened
from krona.runs.claim import Claim
from krona.training.files import WholeCheckpoints
from krona.training.learner import Learner
from krona.training.ranks import Ranks
from krona.training.rows import Rows

PASSED = ("limit_train_batches", "log_every_n_steps", "enable_model_summary", "num_sanity_val_steps", "detect_anomaly",
          "deterministic", "benchmark")  # fmt: skip
PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler,
}  # fmt: skip


def build_trainer(
    settings: Run,
    folder: Path,
    callbacks: Sequence[pl.Callback],
    ranks: Ranks,
    claim: Claim | None = None,
    *,
    logger: Logger | None = None,
) -> pl.Trainer:
    """Lightning's loop on this rank's device; the learner and `Ranks` exchange data between ranks.

    Each rank has a trainer of its own that knows of one device. Lightning's strategies would average gradients of equal
    weight; the ranks' sum is exact over the global batch, where a rank has fewer rows or label tokens too.
    """
    checkpoint = ModelCheckpoint(
        dirpath=folder,
        filename="last",
        monitor=None,  # the last epoch's, to resume from; the best epoch's weights are inside
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    precision: Any = "bf16-mixed" if settings.trainer.frozen_in_bf16 else settings.trainer.precision
    profiler = None
    if settings.trainer.profiler is not None and ranks.first:
        profiler = PROFILERS[settings.trainer.profiler](dirpath=folder, filename="profile")
    write = [] if claim is None else [claim.write]
    # max_steps is the learner's: Lightning resumes a run that it counts by steps in the middle of an epoch
    try:
        return pl.Trainer(
            max_epochs=settings.trainer.max_epochs,
            precision=precision,
            accelerator=settings.trainer.accelerator,
            devices=1 if ranks.device is None else [ranks.device],
            callbacks=[*callbacks, checkpoint] if ranks.first else list(callbacks),
            enable_checkpointing=ranks.first,
            plugins=[WholeCheckpoints(*write), LightningEnvironment()],  # else it looks for a cluster's
            logger=logger or False,
            profiler=profiler,
            enable_progress_bar=any(isinstance(one, ProgressBar) for one in callbacks),  # krona has its own
            use_distributed_sampler=False,
            inference_mode=False,  # what a model keeps from an evaluation has to serve its training
            default_root_dir=folder,
            **{name: getattr(settings.trainer, name) for name in PASSED},
        )
    except MisconfigurationException as error:
        raise format_error(error) from error


def train(trainer: pl.Trainer, learner: Learner, rows: Rows, *, checkpoint: Path | None) -> None:
    """Train to the end; if nothing trains, score the backbone as epoch 0."""
    device: Any = trainer.strategy.root_device
    if learner.plan.total_steps > 0 and surgery.trainable_state(learner.model):
        path = None if checkpoint is None else str(checkpoint)
        try:
            trainer.fit(learner, rows.train, rows.dev.batches, ckpt_path=path, weights_only=True)
        except MisconfigurationException as error:  # a callback or a setting that Lightning refuses
            raise format_error(error) from error
        learner.to(device)  # Lightning leaves the model on the CPU
        return
    learner.to(device)
    learner.record({"epoch": 0, "step": 0}, rows.dev(learner.model))


def format_error(error: MisconfigurationException) -> KronaError:
    return KronaError(f"Lightning refuses these settings: {shortened(' '.join(str(error).split()), 300)}")
