"""Processes that this one has started and sees to their end: an interrupt is theirs too, and they record it first."""

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
from typing import Any, NoReturn

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


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal's handler: the run stops where it is."""
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    raise Interrupted(number)


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: the run stops where it is and goes on with the same command."""


def leave(code: int) -> NoReturn:
    """End with an exit code; output that nobody reads any more is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def quiet_libraries() -> None:
    """Silence what is understood, one by one; everything else is still heard."""
    # Lightning greets with the devices that it found and a tip: provenance has the device.
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    # Lightning repeats a SIGTERM: this module's own handler says what it means.
    logging.getLogger("pytorch_lightning.trainer.connectors.signal_connector").setLevel(logging.WARNING)
    # Lightning advises more loader workers; collating these short rows takes less than starting one.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Lightning finds the run's folder not empty: it holds the claim and the log.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # Lightning advises srun wherever it is installed; who starts a run's ranks is `krona.training.ranks`' to say.
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system")
    # torch warns of a block's output that is a view: T5 changes none of them in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    # torch deprecates what Lightning's copy of its pytree code asks: nothing to do here.
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    # The frozen backbone stays in eval mode until on_train_epoch_start puts it in train mode.
    warnings.filterwarnings("ignore", message=".*module.* in eval mode.*")
