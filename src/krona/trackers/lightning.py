"""A tracker that sends the values of a run to a Lightning logger."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from krona.messages import KronaError, shorten
from krona.safe_files import remove_below
from krona.trackers.logged_values import STEP
from krona.trackers.tracker import About, Ending, Value

STATUS: Mapping[Ending, str] = {"done": "success", "failed": "failed", "interrupted": "aborted"}  # for `finalize`


class LightningTracker:
    """A tracker for a logger whose class is given in the config.

    An example is ``+logger.c._target_=pytorch_lightning.loggers.CSVLogger``. As in Lightning, the keys of values on dev
    begin with ``val/``, steps are counted from 0, and the loss is logged every ``trainer.log_every_n_steps`` steps.

    Args:
        name: the key of the logger in the config. If ``save_dir`` is not given, it is also the name of the logger's
            folder in the run's folder.

    Raises:
        KronaError: the logger cannot be constructed.
    """

    def __init__(self, build: Callable[..., Any], name: str, arguments: Mapping[str, Any], about: About) -> None:
        known, given = inspect.signature(build).parameters, dict(arguments)
        self._row = 0  # the number of the last step
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

    def open(self, about: About) -> str | None:
        if self._folder is not None:
            remove_below(about.outputs, self._folder)  # a resumed run logs its earlier epochs again
        place = self.logger.log_dir or self.logger.save_dir
        self.logger.log_hyperparams(dict(about.config))
        return None if place is None else f"logs in {place}"

    def step(self, number: int, values: Mapping[str, float]) -> None:
        self.logger.log_metrics(dict(values), step=number)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self._row = max(0, int(values.get(STEP, number)) - 1)
        self._log({**values, "epoch": number - 1})

    def end(self, summary: Mapping[str, Value]) -> None:
        self._log({key: value for key, value in summary.items() if not isinstance(value, str)})

    def _log(self, values: Mapping[str, float]) -> None:
        named = {f"val/{key[4:]}" if key.startswith("dev/") else key: value for key, value in values.items()}
        self.logger.log_metrics(named, step=self._row)
        self.logger.save()

    def close(self, ending: Ending) -> None:
        self.logger.finalize(STATUS[ending])
