"""The interface of a tracker, and the description of a run that it receives."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from krona.messages import KronaError

Value = float | int | str
Ending = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class About:
    """The description of a run for its trackers."""

    run_id: str
    folder: Path  # outputs/<run id>; trackers keep their files beside it
    method: str
    task: str
    sweep: str | None
    config: Mapping[str, Value]  # flat: method/scaling
    resumed: bool  # from a checkpoint
    label_words: Mapping[str, str] = field(default_factory=dict)  # target text → word; empty for a regression

    @property
    def outputs(self) -> Path:
        return self.folder.parent


class Tracker(Protocol):
    """A tracker of one run. Its calls may raise, hang or draw random numbers (`krona.trackers.guard`).

    Optional methods: ``steps(losses)`` is called before ``epoch`` with the training loss by step, and ``step(number,
    values)`` with the values that Lightning's callbacks log in a step. A static method ``check(arguments)`` may raise
    `KronaError` before any work starts.
    """

    def open(self, about: About) -> str | None:
        """Begin. Return a line for the user that says where the logs are."""

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Log the values of an epoch. A resumed run calls this again for its earlier epochs, with the same values."""

    def end(self, summary: Mapping[str, Value]) -> None:
        """Log the final values of a finished run. Its predictions and its adapter are in its folder."""

    def close(self, ending: Ending) -> str | None:
        """Release everything. Return a line if the user must do something."""


def require(module: str, *, logger: str, extra: str = "") -> None:
    """Raise `KronaError` with the command that installs a module, if it is missing."""
    if importlib.util.find_spec(module) is None:
        package = f"'.[{extra}]'" if extra else "."
        raise KronaError(f"logger={logger} needs {module}, which is not installed: pip install -e {package}")
