"""The interface of a tracker: four methods, and the description of a run that the first of them gets."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

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

    A tracker may have ``steps(losses: Mapping[int, float])`` too, called before each ``epoch``: step → training loss.
    A class may have ``check(arguments)``, a static method that raises `KronaError` before any work: a check
    constructs nothing.
    """

    def open(self, about: About) -> str | None:
        """Begin; returns a line for the user on where to find the run."""

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """An epoch's values. A resumed run calls this again for its earlier epochs, with the same numbers."""

    def end(self, summary: Mapping[str, Value]) -> None:
        """The run is done: its final values. predictions.jsonl and adapter.safetensors are in its folder."""

    def close(self, ending: Ending) -> str | None:
        """Release everything, whatever happened; returns a line if something is left to do."""


@runtime_checkable
class TakesSteps(Protocol):
    """A tracker that takes the values of training steps too."""

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """The values of a step, each ``trainer.log_every_n_steps``."""


def require(module: str, *, logger: str, extra: str = "") -> None:
    """Raise `KronaError` with the command that installs a module, where a logger's is missing."""
    if importlib.util.find_spec(module) is None:
        what = f"'.[{extra}]'" if extra else "."
        raise KronaError(f"logger={logger} needs {module}, which is not installed: pip install -e {what}")
