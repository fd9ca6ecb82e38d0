"""Lightning's callbacks of a run (``callbacks=``), built from its config."""

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
from krona.messages import KronaError, did_you_mean, shortened
from krona.tasks.task import Task

FIRST_RANK_ONLY = (LearningRateMonitor, ModelCheckpoint, ModelSummary, ProgressBar)


def build_callbacks(settings: Run, *, first: bool = True) -> list[pl.Callback]:
    """The callbacks; of those that show or write, only the first rank has any.

    Raises:
        KronaError: one can't be built, monitors what is not logged, or has no logger to write to.
    """
    built = [_built(name, values) for name, values in settings.callbacks.items()]
    lightning_alone = all(type(one).__module__.startswith("pytorch_lightning.") for one in built)
    for name, one in zip(settings.callbacks, built, strict=True):
        if lightning_alone and isinstance(one, EarlyStopping | ModelCheckpoint):  # another callback may log more
            require_logged(f"callbacks.{name}.monitor", one.monitor, settings.task)
        if isinstance(one, LearningRateMonitor) and not settings.trackers:
            raise KronaError(
                f"callbacks.{name}: LearningRateMonitor needs a logger: logger=wandb, or "
                "+logger.c._target_=pytorch_lightning.loggers.CSVLogger; metrics.csv has the rate of each epoch anyway"
            )
    return [one for one in built if first or not isinstance(one, FIRST_RANK_ONLY)]


def _built(name: str, values: Mapping[str, Any]) -> pl.Callback:
    try:
        built: pl.Callback = build(values, f"callbacks.{name}", "callback", own=True)
    except KronaError:
        raise
    except Exception as error:  # of whatever class it is
        why = shortened(" ".join(str(error).split()), 200)
        raise KronaError(f"callbacks.{name}: {values['_target_']} can't be built: {why}") from error
    return built


def require_logged(where: str, monitor: str | None, task: Task) -> None:
    """Raise where a callback monitors a value that no epoch has."""
    logged = ["train/loss", "val/score", *(f"val/{name}" for name in task.score)]
    if monitor is not None and monitor not in logged:
        raise KronaError(f"{where}={monitor}: no epoch has that value; {did_you_mean(monitor, logged)}")
