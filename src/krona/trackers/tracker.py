"""What a tracker is: four calls, and what it is told of a run before the first."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from krona.messages import KronaError

Value = float | int | str
Ending = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class About:
    """A run, as trackers are told of it."""

    run_id: str
    folder: Path  # outputs/<run id>; trackers keep their files beside it
    method: str
    task: str
    sweep: str | None
    config: Mapping[str, Value]  # flat: method/scaling
    resumed: bool  # goes on from a checkpoint

    @property
    def outputs(self) -> Path:
        return self.folder.parent


class Tracker(Protocol):
    """One tracker of one run. Each call may raise, hang and draw random numbers: `krona.trackers.guard` sees to it."""

    def open(self, about: About) -> str | None:
        """Begin; the line that tells the user where the run will be found."""

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """An epoch's values. A resumed run tells of its earlier epochs again, with the same numbers."""

    def end(self, summary: Mapping[str, Value]) -> None:
        """The run is done: its final values. predictions.jsonl and adapter.safetensors are in its folder."""

    def close(self, ending: Ending) -> str | None:
        """Let go, whatever happened; a line where something is left to do."""


def require(module: str, *, logger: str, extra: str = "") -> None:
    """Raise `KronaError` with the command that installs what a logger needs, where it isn't there."""
    if importlib.util.find_spec(module) is None:
        what = f"'.[{extra}]'" if extra else "."
        raise KronaError(f"logger={logger} needs {module}, which is not installed: pip install -e {what}")
