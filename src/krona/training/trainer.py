"""Build Lightning's trainer and callbacks for a run."""

import logging
import signal
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from pytorch_lightning.strategies import DDPStrategy

from krona.config.target_classes import build_object
from krona.messages import KronaError, shorten
from krona.runs.claim import Claim
from krona.runs.processes import interrupt
from krona.safe_files import Write, write_whole
from krona.training.devices import Ranks, environment
from krona.training.learner import Learner
from krona.training.plan import Plan

PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler,
}  # fmt: skip
PASSED_ON = (  # settings that Lightning's trainer gets under the same name
    "accelerator", "benchmark", "detect_anomaly", "deterministic", "enable_model_summary", "log_every_n_steps",
    "max_epochs", "num_sanity_val_steps",
)  # fmt: skip
LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",  # lists the devices, which the provenance records
    "pytorch_lightning.trainer.connectors.signal_connector",  # reports a SIGTERM, which `interrupt` also reports
)
WARNINGS = (
    ".*does not have many workers.*",  # collating short rows takes less time than starting a worker
    "Checkpoint directory .* exists and is not empty",  # the run's folder contains the claim and the log
    "The `srun` command is available on your system",  # shown on every machine that has srun
    "The number of training batches .* is smaller than the logging interval",  # each epoch is logged anyway
    ".*isinstance.treespec, LeafSpec.*",  # torch deprecates a name that Lightning uses
    ".*module.* in eval mode.*",  # the frozen backbone is in eval mode until on_train_epoch_start
    "You defined a `validation_step` but have no `val_dataloader`",  # krona's LightningModule scores dev itself
    "`broadcast_buffers` is deprecated",  # its successor does not exist in torch 2.9
    "It is recommended to use `self.log.*sync_dist=True",  # the scores already include the rows of all processes
    "Total length of `(DataLoader|CombinedLoader)` across ranks is zero",  # this rank has no batch of the dev split
)


class AfterEpoch(pl.Callback):
    """Calls ``function`` after each epoch.

    The call happens when the next epoch starts or the training ends. By then, Lightning has written the epoch's
    checkpoint and logged the values of all callbacks. Lightning's own hook for the end of an epoch would be too early.
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

    on_train_end = on_train_epoch_start  # calls the function after the last epoch

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.world_size > 1:  # Lightning's own handler would wait for the other processes
            signal.signal(signal.SIGTERM, interrupt)


class AtomicCheckpoints(TorchCheckpointIO):
    """The Lightning plugin that writes each checkpoint atomically, with the function ``write``.

    A run passes the ``write`` method of its claim, which raises an error if another process has taken over the run.
    """

    def __init__(self, write: Write = write_whole) -> None:
        self.write = write

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        def fill(part: Path) -> None:  # ``write`` has checked that the run's own folder still exists
            Path(path).parent.mkdir(parents=True, exist_ok=True)  # a user's own ModelCheckpoint may name a new folder
            torch.save(checkpoint, part)

        self.write(Path(path), fill)


def build_trainer(
    plan: Plan, ranks: Ranks, claim: Claim | None, callbacks: Sequence[pl.Callback], *, loggers: Sequence[Logger]
) -> pl.Trainer:
    """Build Lightning's trainer, with the given ``callbacks`` and the callbacks of the config.

    The trainer writes checkpoints with the run's ``claim``. On other ranks than the first, ``claim`` is None.

    Raises:
        KronaError: a callback cannot be built, or Lightning does not accept the settings.
    """
    quiet_libraries()
    settings, options, folder = plan.settings, plan.settings.trainer, plan.folder
    last_epoch = ModelCheckpoint(  # a run resumes from this file, which also contains the best weights
        dirpath=folder, filename="last", monitor=None, save_on_train_epoch_end=True, enable_version_counter=False
    )
    own = [build_object(values, f"callbacks.{name}", "callback") for name, values in settings.callbacks.items()]
    callbacks = [*callbacks, *own, last_epoch]
    own_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
    profiler = None
    if options.profiler is not None and ranks.first:
        profiler = PROFILERS[options.profiler](dirpath=folder, filename="profile")
    # A user's branch may have parameters that the loss does not use. DDP must therefore look for such parameters.
    ddp = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if ranks.size > 1 else "auto"
    passed = {name: getattr(options, name) for name in PASSED_ON}
    passed["precision"] = "bf16-mixed" if options.frozen_in_bf16 else options.precision
    checkpoints = AtomicCheckpoints() if claim is None else AtomicCheckpoints(claim.write)
    # The learner handles max_steps. With Lightning's own max_steps, a run would resume in the middle of an epoch.
    try:
        return pl.Trainer(
            strategy=ddp,
            devices=ranks.local_size,
            num_nodes=ranks.size // ranks.local_size,
            callbacks=callbacks,
            plugins=[checkpoints, environment()],
            logger=list(loggers) or (DummyLogger() if settings.logger else False),  # only rank 0 has loggers
            profiler=profiler,
            enable_progress_bar=own_bar,  # krona replaces Lightning's default bar
            use_distributed_sampler=False,
            inference_mode=False,  # a model may keep tensors from an evaluation and use them in training
            default_root_dir=folder,
            **passed,
        )
    except (MisconfigurationException, RuntimeError) as error:  # RuntimeError is raised for two equal callbacks
        reason = shorten(" ".join(str(error).split()), 300)
        raise KronaError(f"Lightning does not accept these settings: {reason}") from error


def quiet_libraries() -> None:
    """Silence the log lines of `LOGGERS` and the warnings of `WARNINGS` in this process."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)
