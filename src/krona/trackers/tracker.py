"""The interface of trackers, the description of a run that they receive, and the protection of the run from them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from krona.messages import first_line

Value = float | int | str
Ending = Literal["done", "failed", "interrupted"]
MAX_REASON = 200  # the maximum number of characters of an error in a message
LIMIT_S = 120.0  # the time limit of a call, longer than the limits inside the trackers


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

    The methods of a tracker may raise errors, run without end, or draw random numbers. `Guarded` protects the run from
    these effects.

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


class Guarded:
    """A wrapper of a tracker. If a call fails, training continues and its results do not change.

    Each call runs in a thread, and the run waits for the thread. If a call fails or exceeds the time limit, one line is
    printed for the user. From then on, only the tracker's method ``close`` is called. The state of the random number
    generators is restored after each call. A call that exceeds the time limit continues in its thread, which Python
    cannot end. The random numbers that it draws after that come from the same generators as those of the run.
    """

    def __init__(self, name: str, tracker: Tracker, *, say: Callable[[str], None], limit_s: float = LIMIT_S) -> None:
        self.name, self.tracker, self.say, self.limit_s = name, tracker, say, limit_s
        self.failed = False

    def call(self, method: str, *arguments: Any, when: str) -> None:
        """Call a method of the tracker, and print the line that it returns. Do nothing if the method does not exist.

        A message about a failure says ``when`` it was, for example ``"epoch 3"``.
        """
        from pytorch_lightning.utilities.seed import isolate_rng

        call = getattr(self.tracker, method, None)
        if call is None or (self.failed and method != "close"):
            return
        outcome: list[tuple[Any, BaseException | None]] = []

        def run() -> None:
            try:
                outcome.append((call(*arguments), None))
            except BaseException as error:  # includes SystemExit
                outcome.append((None, error))

        thread = threading.Thread(target=run, name=f"tracker {self.name}", daemon=True)
        with isolate_rng():
            thread.start()
            thread.join(self.limit_s)
        line, error = outcome[0] if outcome else (None, TimeoutError(f"no response within {self.limit_s:g} s"))
        if error is not None:
            why = first_line(error)[:MAX_REASON]
            line = f"failed at {when} ({why}). The run continues, and its folder contains all results."
            line = None if self.failed else line
            self.failed = True
        if line:
            self.say(f"  {self.name}: {line}")
