"""Silence known warnings and log lines of Lightning and torch."""

import logging
import warnings

LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",  # a greeting with devices, which the provenance records
    "pytorch_lightning.trainer.connectors.signal_connector",  # repeats a SIGTERM that `interrupt` reports
)
WARNINGS = (
    ".*does not have many workers.*",  # collating short rows takes less time than starting a worker
    "Checkpoint directory .* exists and is not empty",  # it contains the claim and the log
    "The `srun` command is available on your system",  # advice wherever srun is installed
    "The number of training batches .* is smaller than the logging interval",  # epochs are logged in any case
    "FSDP2-wrapped module .* returned a view tensor",  # T5 changes no block's output in place
    ".*isinstance.treespec, LeafSpec.*",  # deprecated by torch, used by Lightning's copy of its pytree code
    ".*module.* in eval mode.*",  # the frozen backbone, until on_train_epoch_start
    "You defined a `validation_step` but have no `val_dataloader`",  # the learner scores dev itself
    "Total length of `(DataLoader|CombinedLoader)` across ranks is zero",  # this rank has no batch of dev
)


def quiet_libraries() -> None:
    """Silence them in this process."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)
