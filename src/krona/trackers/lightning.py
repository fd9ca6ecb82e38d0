"""Trackers that send the values of a run to a Lightning logger."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from krona.messages import KronaError, shorten
from krona.safe_files import remove_below
from krona.trackers.logged_values import STEP, STEP_LOSS
from krona.trackers.tracker import About, Ending, Value

STATUS: Mapping[Ending, str] = {"done": "success", "failed": "failed", "interrupted": "aborted"}  # for `finalize`


class LightningTracker:
    """The base class of trackers that use a Lightning logger. Subclasses construct the logger in `start`.

    Each logged row of values has a number. As in Lightning, the number is that of the step, counted from 0. A resumed
    run logs its earlier epochs again (`krona.trackers.logged_values.History`). If the logger still has the rows of
    these epochs, only rows with the number ``first`` or higher are sent to it.
    """

    logger: Any = None
    first = 0  # the number of the first row that the logger does not have
    row = 0  # the number of the last row

    def start(self) -> str | None:
        """Construct ``logger`` for the run ``self.about``. Return a line that tells the user where the logs are."""
        raise NotImplementedError

    def open(self, about: About) -> str | None:
        self.about = about
        line = self.start()
        if not self.first:
            self.log_config(dict(about.config))
        return line

    def log_config(self, config: dict[str, Value]) -> None:
        self.logger.log_hyperparams(config)

    def steps(self, losses: Mapping[int, float]) -> None:
        for step, loss in losses.items():
            self.log({STEP_LOSS: loss}, step)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self.log(values, int(values.get(STEP, number)))
        self.logger.save()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the values of a step. Steps are counted from 1."""
        self.row = max(0, step - 1)
        if self.row >= self.first:
            self.write(dict(values))

    def write(self, values: dict[str, float]) -> None:
        self.logger.log_metrics(values, step=self.row)

    def end(self, summary: Mapping[str, Value]) -> None:
        numbers = {key: value for key, value in summary.items() if not isinstance(value, str)}
        self.logger.log_metrics(numbers, step=self.row)
        self.logger.save()

    def close(self, ending: Ending) -> str | None:
        if self.logger is not None:
            self.logger.finalize(STATUS[ending])
        return None


class OtherLogger(LightningTracker):
    """A tracker for a logger whose class is given in the config.

    An example is ``+logger.c._target_=pytorch_lightning.loggers.CSVLogger``. As in Lightning, the keys of values on dev
    begin with ``val/``, and the loss is logged every ``trainer.log_every_n_steps`` steps.

    Args:
        name: the key of the logger in the config. If ``save_dir`` is not given, it is also the name of the logger's
            folder in the run's folder.

    Raises:
        KronaError: the logger cannot be constructed.
    """

    def __init__(self, build: Callable[..., Any], name: str, arguments: Mapping[str, Any], about: About) -> None:
        known, given = inspect.signature(build).parameters, dict(arguments)
        self._folder: Path | None = None
        if "save_dir" in known and given.get("save_dir") is None:
            self._folder = about.folder / name
            given["save_dir"] = str(self._folder)
            if {"name", "version"}.isdisjoint(given) and build.__name__ in ("CSVLogger", "TensorBoardLogger"):
                given |= {"name": "", "version": ""}  # so that the logger creates no subfolders
        if "run_name" in known:
            given.setdefault("run_name", about.run_id)
        try:
            self.logger = build(**given)
        except Exception as error:  # classes raise different errors
            why = shorten(" ".join(str(error).split()), 300)
            raise KronaError(f"The logger logger.{name} ({build.__name__}) can't be constructed: {why}") from error

    def start(self) -> str | None:
        if self._folder is not None:
            remove_below(self.about.outputs, self._folder)  # a resumed run logs its earlier epochs again
        place = self.logger.log_dir or self.logger.save_dir
        return None if place is None else f"logs in {place}"

    def steps(self, losses: Mapping[int, float]) -> None:
        """Log nothing, because `step` gets the losses every ``trainer.log_every_n_steps`` steps."""

    def step(self, number: int, values: Mapping[str, float]) -> None:
        self.logger.log_metrics(dict(values), step=number)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        super().epoch(number, {**_lightning_keys(values), "epoch": number - 1})

    def end(self, summary: Mapping[str, Value]) -> None:
        super().end(_lightning_keys(summary))


def _lightning_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"val/{key[4:]}" if key.startswith("dev/") else key: value for key, value in values.items()}
