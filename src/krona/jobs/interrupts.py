"""Ctrl-C and SIGTERM: record the interrupt, end child processes, and exit with 128 + the signal's number."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

GRACE_S = 1.0
PARENT = "KRONA_PARENT"  # environment variable: the process that started this one, which ends with it
PR_SET_PDEATHSIG = 1  # of prctl(2)
Child = subprocess.Popen[bytes]


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: the run stops, and the same command resumes it."""


_received: list[int] = []  # signals during this run


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal by raising `Interrupted`. A second signal kills the process."""
    _received.append(number)
    signal.signal(number, signal.SIG_DFL)
    raise Interrupted(number)


def stop_if_interrupted() -> None:
    """Raise `Interrupted` for a signal since `forget_signals`: C code of a library can swallow the first exception."""
    if _received:
        raise Interrupted(_received[-1])


def forget_signals() -> None:
    """Forget the signals of an earlier run."""
    _received.clear()


@contextmanager
def children(*, announce: bool) -> Iterator[list[Child]]:
    """Yield a list for processes that the caller starts. No process in it outlives the context.

    The processes share the terminal and receive Ctrl-C themselves; a SIGTERM is forwarded. After an interrupt, this
    process waits until they have recorded it, or for a second signal, and exits with 128 + the signal's number.

    Args:
        announce: print how to resume after an interrupt, for children that do not print it.
    """
    started: list[Child] = []

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        if not started:
            interrupt(number, frame)
        raise Interrupted(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield started
    except (Interrupted, KeyboardInterrupt) as error:
        _wait_all(started, forward_signal=signal_number(error) == signal.SIGTERM)
        exit_interrupted(error, announce=announce)
    except BaseException:
        _terminate(started)
        _wait_all(started, forward_signal=False)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def end_with_parent(parent: int) -> None:
    """Send this process a SIGTERM when ``parent``, which started it, ends, also by ``kill -9`` (on Linux only)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has already ended
        os.kill(os.getpid(), signal.SIGTERM)


def exit_code(process: Child) -> int:
    """Return a process's exit code as a shell does: 128 + the signal's number if a signal killed it."""
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _wait_all(processes: Sequence[Child], *, forward_signal: bool) -> None:
    """Wait until all have ended. A second signal terminates them."""
    try:
        if forward_signal:
            # timeout(1) signals the whole group: a second signal would interrupt the recording
            until = time.monotonic() + GRACE_S
            while time.monotonic() < until and any(process.poll() is None for process in processes):
                time.sleep(0.02)
            _terminate(processes)
        for process in processes:
            process.wait()
    except (Interrupted, KeyboardInterrupt):
        _terminate(processes)
        for process in processes:
            process.wait()


def _terminate(processes: Sequence[Child]) -> None:
    for process in processes:
        process.terminate()  # has no effect on an ended process


def leave(code: int) -> NoReturn:
    """Exit with a code, without an error if the output pipe is closed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def signal_number(stop: BaseException) -> int:
    """Return the number of the signal that raised `Interrupted` or ``KeyboardInterrupt``."""
    return int(stop.args[0]) if stop.args else int(signal.SIGINT)


def exit_interrupted(stop: BaseException, *, announce: bool = True) -> NoReturn:
    """Exit with 128 + the signal's number, after printing how to resume."""
    if announce:
        print("interrupted: the same command resumes it", file=sys.stderr)
    leave(128 + signal_number(stop))
