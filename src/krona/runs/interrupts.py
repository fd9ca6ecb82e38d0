"""Handle Ctrl-C and SIGTERM: raise `Interrupted`, and exit with a matching exit code."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

OVERWRITE = re.compile(r"\+*overwrite=true", re.IGNORECASE)  # Hydra passes overwrite=True to the jobs of a multirun


class Interrupted(BaseException):
    """The exception that Ctrl-C or SIGTERM raises to stop the run. The same command resumes the run."""


_received: list[int] = []  # numbers of the signals that arrived during this run


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal by raising `Interrupted`. A second signal kills the process.

    If the signal arrives in a ``__del__`` method, Python would print and suppress the exception. In this case,
    `stop_if_interrupted` raises the exception later.
    """
    _received.append(number)
    signal.signal(number, signal.SIG_DFL)
    if frame is None or frame.f_code.co_name != "__del__":
        raise Interrupted(number)


def stop_if_interrupted() -> None:
    """Raise `Interrupted` if a signal arrived after the last call of `forget_signals`.

    A run calls this function after each epoch, because a library can suppress the exception that `interrupt` raises.
    """
    if _received:
        raise Interrupted(_received[-1])


def forget_signals() -> None:
    """Forget the signals of an earlier run."""
    _received.clear()


def leave(code: int) -> NoReturn:
    """Exit with the exit code ``code``, without an error if the standard output is closed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def signal_number(stop: BaseException) -> int:
    """Return the number of the signal that caused an `Interrupted` or ``KeyboardInterrupt`` exception."""
    return int(stop.args[0]) if stop.args else int(signal.SIGINT)


def exit_interrupted(stop: BaseException, *, announce: bool = True) -> NoReturn:
    """Exit with 128 + the signal's number. If ``announce`` is true, first print how to resume."""
    if announce:
        without = ", without overwrite=true," if any(map(OVERWRITE.fullmatch, sys.argv)) else ""
        print(f"Interrupted. Run the same command again{without} to resume.", file=sys.stderr)
    leave(128 + signal_number(stop))


@contextmanager
def exit_on_interrupt(*, announce: bool = True) -> Iterator[None]:
    """After Ctrl-C or SIGTERM, exit with 128 + the signal number. If ``announce``, also print how to resume."""
    handlers = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Interrupted as stop:
        exit_interrupted(stop, announce=announce)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
