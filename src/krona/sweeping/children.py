"""Processes that this one has started and sees to their end: an interrupt is theirs too, and they record it first."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from krona.assignments import Interrupted
from krona.entry import leave

GRACE_S = 1.0
Child = subprocess.Popen[bytes]


@contextmanager
def children(*, tell: bool) -> Iterator[list[Child]]:
    """A list for the processes that are started inside; none of them outlives it.

    Ctrl-C reaches them by itself, as they share the terminal; a SIGTERM is passed on. They are waited for as long as
    they take to record where they stopped, unless a second signal comes; then this process ends with 128 + the signal's
    number. ``tell``: say here what a process alone would say.
    """
    started: list[Child] = []

    def interrupt(number: int, frame: Any) -> NoReturn:
        if not started:
            signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        raise Interrupted(number)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield started
    except (Interrupted, KeyboardInterrupt) as stop:
        number = int(stop.args[0]) if stop.args else int(signal.SIGINT)
        _see_off(started, pass_on=number == signal.SIGTERM)
        if tell:
            print("interrupted: the same command goes on where it stopped", file=sys.stderr)
        leave(128 + number)
    except BaseException:
        _terminate(started)
        _see_off(started, pass_on=False)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_code(process: Child) -> int:
    """How a process ended, as a shell has it: 128 + the signal's number where one killed it."""
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _see_off(processes: Sequence[Child], *, pass_on: bool) -> None:
    """Wait until all have ended; a second signal terminates them."""
    try:
        if pass_on:
            _wait_a_little(processes)
            _terminate(processes)
        for process in processes:
            process.wait()
    except (Interrupted, KeyboardInterrupt):
        _terminate(processes)
        for process in processes:
            process.wait()


def _wait_a_little(processes: Sequence[Child]) -> None:
    """Where a whole group was sent the signal, as by timeout(1), another one would cut short what they record."""
    until = time.monotonic() + GRACE_S
    while time.monotonic() < until and any(process.poll() is None for process in processes):
        time.sleep(0.02)


def _terminate(processes: Sequence[Child]) -> None:
    for process in processes:
        process.terminate()  # nothing, where it has ended
