"""Signals and child processes: an interrupt ends a process and its children after they have recorded it."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

GRACE_S = 1.0
PARENT = "KRONA_PARENT"  # the process that started this one and that it ends with
PR_SET_PDEATHSIG = 1  # of prctl(2)
Child = subprocess.Popen[bytes]


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: the run stops; the same command resumes it."""


_came: list[int] = []  # signals of this run


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """A signal handler that stops the run. A second signal ends the process at once."""
    _came.append(number)
    signal.signal(number, signal.SIG_DFL)
    raise Interrupted(number)


def stop_if_interrupted() -> None:
    """Raise `Interrupted` for a signal that came since `begin_run`: C code of a library can lose the first one."""
    if _came:
        raise Interrupted(_came[-1])


def begin_run() -> None:
    """Forget the signals of a run before."""
    _came.clear()


@contextmanager
def children(*, announce: bool) -> Iterator[list[Child]]:
    """A list for the processes that the caller starts; none of them outlives the context.

    They receive Ctrl-C themselves, as they share the terminal; a SIGTERM is forwarded. An interrupt waits until they
    have recorded it, or until a second signal; then this process exits with 128 + the signal's number. ``announce``:
    print the line that an interrupted process prints, because the children do not.
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
    """Send this process a SIGTERM when ``parent``, which started it, has ended, by ``kill -9`` too. On Linux only."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before
        os.kill(os.getpid(), signal.SIGTERM)


def exit_code(process: Child) -> int:
    """A process's exit code as in a shell: 128 + the signal's number if a signal killed it."""
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _wait_all(processes: Sequence[Child], *, forward_signal: bool) -> None:
    """Wait until all have ended; a second signal terminates them."""
    try:
        if forward_signal:
            # timeout(1) signals the whole group: a second signal would cut short what they record
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
        process.terminate()  # does nothing if it has ended


def leave(code: int) -> NoReturn:
    """Exit with a code; a closed output pipe is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def signal_number(stop: BaseException) -> int:
    """The number of the signal that raised `Interrupted` or ``KeyboardInterrupt``."""
    return int(stop.args[0]) if stop.args else int(signal.SIGINT)


def exit_interrupted(stop: BaseException, *, announce: bool = True) -> NoReturn:
    """Exit with 128 + the signal's number, after the line that says how to resume."""
    if announce:
        print("interrupted: the same command resumes it", file=sys.stderr)
    leave(128 + signal_number(stop))


def quiet_libraries() -> None:
    """Silence known warnings and log lines of libraries, one by one."""
    # Lightning greets with the devices that it found and a tip: provenance has the device.
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    # Lightning repeats a SIGTERM: this module's handler reports it.
    logging.getLogger("pytorch_lightning.trainer.connectors.signal_connector").setLevel(logging.WARNING)
    # Lightning advises more loader workers; collating these short rows takes less than starting one.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Lightning finds the run's folder not empty: it holds the claim and the log.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # Lightning advises srun wherever it is installed; `krona.training.ranks` says how ranks are started.
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system")
    # Lightning finds an epoch shorter than trainer.log_every_n_steps: its default is 50, and epochs have values anyway.
    warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than the logging interval")
    # torch warns of a block's output that is a view: T5 changes none of them in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    # torch deprecates what Lightning's copy of its pytree code uses.
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    # The frozen backbone stays in eval mode until on_train_epoch_start puts it in train mode.
    warnings.filterwarnings("ignore", message=".*module.* in eval mode.*")
    # Lightning misses a validation loader: the learner scores dev by itself, or this rank has no batch of it.
    warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no `val_dataloader`")
    warnings.filterwarnings("ignore", message="Total length of `(DataLoader|CombinedLoader)` across ranks is zero")
