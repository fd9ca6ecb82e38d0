"""Protection of a run from its trackers: training continues with the same numbers, even if a tracker fails.

Each call of a tracker runs in a thread, and the run waits for it. A call that fails or exceeds the time limit is the
tracker's last, and the user gets one line about it. Each call leaves the random number streams unchanged.
"""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from krona.trackers.tracker import About, Ending, Tracker, Value

LIMIT_S = 120.0  # the trackers' own time limits are shorter; this one is for calls without one


class Guarded:
    """A tracker whose calls cannot harm the run; ``say`` takes the lines for the user."""

    def __init__(self, name: str, tracker: Tracker, *, say: Callable[[str], None], limit_s: float = LIMIT_S) -> None:
        self.name, self.tracker, self.say, self.limit_s = name, tracker, say, limit_s
        self.alive = True

    def open(self, about: About) -> None:
        self._say(self._call("start", "open", about))

    def epoch(self, number: int, values: Mapping[str, float], losses: Mapping[int, float]) -> None:
        """An epoch's values, and the loss curve of its steps for a tracker that takes it."""
        if losses:
            self._call(f"step {min(losses)}", "steps", losses)
        self._call(f"epoch {number}", "epoch", number, values)

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """A step's values, for a tracker that takes them."""
        self._call(f"step {number}", "step", number, values)

    def end(self, summary: Mapping[str, Value]) -> None:
        self._call("the end", "end", summary)

    def close(self, ending: Ending) -> None:
        """Close the tracker, also one that failed."""
        failed_before = not self.alive
        self.alive = True
        self._say(self._call("closing", "close", ending, quiet=failed_before))
        self.alive = False

    def _say(self, line: str | None) -> None:
        if line:
            self.say(f"  {self.name}: {line}")

    def _call(self, when: str, method: str, *arguments: Any, quiet: bool = False) -> Any:
        """The method's value; None if it failed, took too long, or an earlier call was the last."""
        call = getattr(self.tracker, method, None)
        if not self.alive or call is None:
            return None
        answers: list[tuple[Any, BaseException | None]] = []

        def answer() -> None:
            try:
                answers.append((call(*arguments), None))
            except BaseException as error:  # also a SystemExit
                answers.append((None, error))

        thread = threading.Thread(target=answer, name=f"tracker {self.name}", daemon=True)
        with unchanged_random_streams():
            thread.start()
            thread.join(self.limit_s)
        value, error = answers[0] if answers else (None, TimeoutError(f"no answer in {self.limit_s:g} s"))
        if error is None:
            return value
        self.alive = False
        if not quiet:
            self._say(f"failed at {when} ({first_line(error)}); the run continues, results are in its folder")
        return None


@contextmanager
def unchanged_random_streams() -> Iterator[None]:
    """Restore the random number streams of Python, NumPy and torch at the end."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    device = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if device:
            torch.cuda.set_rng_state_all(device)


def first_line(error: BaseException) -> str:
    """An error's first line, at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
