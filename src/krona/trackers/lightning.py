"""Lightning's own loggers as trackers (``+logger.c._target_=pytorch_lightning.loggers.CSVLogger``)."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from krona.files import remove_below
from krona.messages import KronaError, shortened
from krona.trackers.tracker import About, Ending, Value

STATUS: dict[Ending, str] = {"done": "success", "failed": "failed", "interrupted": "aborted"}  # Lightning's words


class LightningLogger:
    """Passes a run's values on to one of Lightning's loggers: ``val/…`` for dev, epochs and steps counted from 0.

    Args:
        build: the logger's class.
        name: its key in the config; the folder that it has below the run's, unless ``save_dir`` is given.

    Raises:
        KronaError: the logger can't be constructed.
    """

    def __init__(self, build: Callable[..., Any], name: str, arguments: Mapping[str, Any], about: About) -> None:
        known = inspect.signature(build).parameters
        given, self._folder = dict(arguments), None
        if "save_dir" in known and given.get("save_dir") is None:
            self._folder = about.folder / name
            given["save_dir"] = str(self._folder)
            if {"name", "version"}.isdisjoint(given) and build.__name__ in ("CSVLogger", "TensorBoardLogger"):
                given |= {"name": "", "version": ""}  # the run's folder is name enough
        try:
            self._logger = build(**given)
        except Exception as error:  # each has its own
            why = shortened(" ".join(str(error).split()), 300)
            raise KronaError(f"logger.{name}: {build.__name__} can't be constructed: {why}") from error
        self._step = 0

    def open(self, about: About) -> str | None:
        if self._folder is not None:
            remove_below(about.outputs, self._folder)  # a resumed run's earlier epochs come again
        self._logger.log_hyperparams(dict(about.config))
        where: str | Path | None = self._logger.log_dir or self._logger.save_dir
        return None if where is None else f"logs in {where}"

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self._step = int(values.get("train/step", number)) - 1
        self._logger.log_metrics({**lightning_names(values), "epoch": number - 1}, step=self._step)
        self._logger.save()

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """Values of a training step: each ``trainer.log_every_n_steps``."""
        self._logger.log_metrics(dict(values), step=number)

    def end(self, summary: Mapping[str, Value]) -> None:
        numbers = {key: value for key, value in summary.items() if not isinstance(value, str)}
        self._logger.log_metrics(lightning_names(numbers), step=self._step)
        self._logger.save()

    def close(self, ending: Ending) -> str | None:
        self._logger.finalize(STATUS[ending])
        return None


def lightning_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under Lightning's usual names: ``val/score`` for ``dev/score``."""
    return {f"val/{key[4:]}" if key.startswith("dev/") else key: value for key, value in values.items()}
