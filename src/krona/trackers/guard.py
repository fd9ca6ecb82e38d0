"""Protect a run from its trackers. If a tracker fails, training continues and its results do not change."""

import threading
from collections.abc import Callable
from typing import Any

from krona.messages import first_line
from krona.trackers.tracker import Tracker

MAX_REASON = 200  # the maximum number of characters of an error in a message
LIMIT_S = 120.0  # the time limit of a call, longer than the limits inside the trackers


class Guarded:
    """A wrapper that calls the methods of a tracker without risk for the run.

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
