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
    """A run's description for its trackers."""

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
    """One tracker of one run. A call may raise, hang or draw random numbers: `krona.trackers.guard` handles that.

    A tracker may also have ``steps(losses: Mapping[int, float])``, called before each ``epoch`` (step → training loss),
    and ``step(number, values)`` for the values that Lightning's callbacks log in a step. A static method
    ``check(arguments)`` of the class may raise `KronaError` before any work starts.
    """

    def open(self, about: About) -> str | None:
        """Begin; return a line for the user that says where the logs are."""

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Log an epoch's values. A resumed run calls this again for its earlier epochs, with the same numbers."""

    def end(self, summary: Mapping[str, Value]) -> None:
        """Log the final values of a run that is done. Its predictions and its adapter are in its folder."""

    def close(self, ending: Ending) -> str | None:
        """Release everything; return a line if the user has to do something."""


def require(module: str, *, logger: str, extra: str = "") -> None:
    """Raise `KronaError` with the command that installs a module, if a logger's module is missing."""
    if importlib.util.find_spec(module) is None:
        what = f"'.[{extra}]'" if extra else "."
        raise KronaError(f"logger={logger} needs {module}, which is not installed: pip install -e {what}")
