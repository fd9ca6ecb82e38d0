"""Build the Lightning callbacks that the config of a run lists (``callbacks=``)."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
)

from krona.config.settings import Run
from krona.config.targets import build
from krona.messages import KronaError, did_you_mean, shorten

FIRST_RANK_ONLY = (LearningRateMonitor, ModelCheckpoint, ModelSummary, ProgressBar)


def build_callbacks(settings: Run, *, first: bool = True) -> list[pl.Callback]:
    """Build the callbacks of a run. Only on the ``first`` rank, they include those that print or write files.

    Raises:
        KronaError: a callback cannot be built, monitors a value that is not logged, or needs a logger.
    """
    callbacks = {name: _build(name, values) for name, values in settings.callbacks.items()}
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


def _build(name: str, values: Mapping[str, Any]) -> pl.Callback:
    try:
        built: pl.Callback = build(values, f"callbacks.{name}", "callback", own=True)
    except KronaError:
        raise
    except Exception as error:  # classes raise different errors
        why = shorten(" ".join(str(error).split()), 200)
        raise KronaError(f"The callback callbacks.{name} ({values['_target_']}) can't be built: {why}") from error
    return built
