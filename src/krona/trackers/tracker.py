"""The interface of trackers, and the description of a run that they receive."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Value = float | int | str
Ending = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class About:
    """The description of a run for its trackers."""

    run_id: str
    folder: Path  # outputs/<run id>; trackers write their own files into outputs/
    method: str
    task: str
    sweep: str | None
    config: Mapping[str, Value]  # has flat keys, such as method/scaling
    resumed: bool  # whether the run was resumed from a checkpoint
    label_words: Mapping[str, str] = field(default_factory=dict)  # from each target text to its word; regression: empty

    @property
    def outputs(self) -> Path:
        return self.folder.parent


class Tracker(Protocol):
    """A tracker, which logs the values of one run.

    The methods of a tracker may raise errors, run without end, or draw random numbers. `krona.trackers.guard` protects
    the run from these effects.

    A tracker can have three more methods:

    - ``steps(losses)`` is called before ``epoch``. ``losses`` is a dict from each step to its training loss.
    - ``step(number, values)`` is called with the values that Lightning logs in a step.
    - ``check(arguments)`` is a static method that is called before the run starts, with the arguments of the tracker in
      the config. It raises `KronaError` if an argument is wrong.
    """

    def open(self, about: About) -> str | None:
        """Start logging. Return a line that tells the user where the logs are; None for no line."""

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Log the values of an epoch. A resumed run logs its earlier epochs again, with the same values."""

    def end(self, summary: Mapping[str, Value]) -> None:
        """Log the final values of a finished run. The predictions and the adapter are in the folder of the run."""

    def close(self, ending: Ending) -> str | None:
        """Close all connections and files. If the user must do something, return a line that describes it."""
