"""Protection of a run from its trackers: the training continues, with the same numbers, whatever a tracker does.

A tracker's calls run in a thread of its own, and the run waits for each. A call that fails or takes longer than its
limit is the tracker's last, and the user gets one line about it. Each call leaves the random number streams unchanged.
"""

import queue
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from krona.trackers.tracker import About, Ending, TakesSteps, Tracker, Value

LIMIT_S = 120.0  # the trackers' own time limits are shorter; this one is for calls without one


class Guarded:
    """A tracker whose calls cannot harm the run; ``say`` takes the lines for the user."""

    def __init__(self, name: str, tracker: Tracker, *, say: Callable[[str], None], limit_s: float = LIMIT_S) -> None:
        self.name, self.tracker, self.say, self.limit_s = name, tracker, say, limit_s
        self.alive = True
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self.thread.start()

    def open(self, about: About) -> None:
        self._say(self._call("start", lambda: self.tracker.open(about)))

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self._call(f"epoch {number}", lambda: self.tracker.epoch(number, values))

    def steps(self, losses: Mapping[int, float]) -> None:
        """The loss curve of the epoch that comes next, for a tracker that takes it."""
        if (take := getattr(self.tracker, "steps", None)) is not None:
            self._call(f"step {min(losses)}", lambda: take(losses))

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """A step's values, for a tracker that takes them."""
        if isinstance(self.tracker, TakesSteps):
            tracker = self.tracker
            self._call(f"step {number}", lambda: tracker.step(number, values))

    def end(self, summary: Mapping[str, Value]) -> None:
        self._call("the end", lambda: self.tracker.end(summary), last_on_failure=False)

    def close(self, ending: Ending) -> None:
        """Close the tracker, also one that failed, and end its thread."""
        failed_before = not self.alive
        self.alive = True
        self._say(self._call("closing", lambda: self.tracker.close(ending), quiet=failed_before))
        self.alive = False
        self._calls.put(None)

    def _say(self, line: str | None) -> None:
        if line:
            self.say(f"  {self.name}: {line}")

    def _call(self, when: str, call: Callable[[], Any], *, last_on_failure: bool = True, quiet: bool = False) -> Any:
        """The call's value; None where it failed, took too long, or an earlier one was the last."""
        if not self.alive:
            return None
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with random_streams_kept():
            self._calls.put((call, answer))
            try:
                value, error = answer.get(timeout=self.limit_s)
            except queue.Empty:
                value, error = None, TimeoutError(f"no answer in {self.limit_s:g} s")
        if error is None:
            return value
        self.alive = not (last_on_failure or isinstance(error, TimeoutError))
        if not quiet:
            self._say(f"failed at {when} ({one_line(error)}); the run continues, results are in its folder")
        return None

    def _work(self) -> None:
        while (job := self._calls.get()) is not None:
            call, answer = job
            try:
                answer.put((call(), None))
            except BaseException as error:  # the thread must answer, also to a SystemExit
                answer.put((None, error))


@contextmanager
def random_streams_kept() -> Iterator[None]:
    """Put the random number streams of Python, NumPy and torch back as they were."""
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


def one_line(error: BaseException) -> str:
    """An error's first line, at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
