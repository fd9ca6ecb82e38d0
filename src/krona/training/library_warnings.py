"""Silence known warnings and log lines of Lightning and torch."""

import logging
import warnings

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


def quiet_libraries() -> None:
    """Silence the log lines of `LOGGERS` and the warnings of `WARNINGS` in this process."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)
