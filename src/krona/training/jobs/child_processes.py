"""Wait for child processes and end them: after Ctrl-C, after an error, and when their parent process is killed."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from krona.runs.interrupts import Interrupted, exit_interrupted, interrupt, signal_number

GRACE_S = 1.0  # seconds to wait for child processes before a SIGTERM is forwarded to them
PARENT = "KRONA_PARENT"  # environment variable with a process id; when that process ends, this process ends too
PR_SET_PDEATHSIG = 1  # an option of prctl(2)
Child = subprocess.Popen[bytes]


@contextmanager
def children(*, announce: bool) -> Iterator[list[Child]]:
    """Yield an empty list, to which the caller adds the child processes that it starts.

    After an interrupt, this process waits until all children have recorded the interrupt and ended. A second signal
    terminates them. This process then exits with 128 + the signal's number, and prints how to resume if ``announce`` is
    true. After any other exception, the children are terminated. The children share the terminal, so they receive
    Ctrl-C themselves. A SIGTERM is forwarded to them.
    """
    started: list[Child] = []

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        if not started:
            interrupt(number, frame)
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
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
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent(parent: int) -> None:
    """Ensure that this process receives a SIGTERM when its parent process ends, even by ``kill -9`` (on Linux only)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the parent has already ended
        os.kill(os.getpid(), signal.SIGTERM)


def exit_code(process: Child) -> int:
    """Return a process's exit code as a shell does: 128 + the signal's number if a signal killed the process."""
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _wait_all(processes: Sequence[Child], *, forward_signal: bool) -> None:
    """Wait until all processes have ended. A second signal terminates them."""
    with suppress(Interrupted, KeyboardInterrupt):
        if forward_signal:
            # timeout(1) also signals the children, and a second signal would stop them while they record the interrupt
            until = time.monotonic() + GRACE_S
            while time.monotonic() < until and any(process.poll() is None for process in processes):
                time.sleep(0.02)
            _terminate(processes)
        for process in processes:
            process.wait()
    _terminate(processes)
    for process in processes:
        process.wait()


def _terminate(processes: Sequence[Child]) -> None:
    for process in processes:
        process.terminate()  # has no effect on an ended process
