"""What a tracker is: four calls, and what it is told of a run before the first."""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from krona.errors import KronaError

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


def plain_name(what: str, value: str | None, *, forbidden: str, longest: int = 128) -> None:
    """Raise `KronaError` where a name that the user gave has characters that the tracker forbids."""
    if value is None:
        return
    found = sorted(set(re.findall(f"[{re.escape(forbidden)}]", value)))
    if found:
        raise KronaError(f"{what}={value!r}: {' '.join(found)} may not be in it; letters, digits, - _ and . may")
    if not value.strip() or len(value) > longest:
        raise KronaError(f"{what}={value!r}: 1 to {longest} characters, this has {len(value)}")
