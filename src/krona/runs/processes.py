"""Tell how this process was started and which processes are alive, and handle signals and the end of the parent.

SLURM requeues a job after a time limit, a preemption or a node failure. The job then starts again with the same
command, and resumes its run.

Ctrl-C and SIGTERM raise `Interrupted`, and the command exits with a matching exit code. A process that belongs to
another process ends when that process has ended, also if it was killed by SIGKILL. Otherwise, the workers of a killed
command, or the ranks of a killed torchrun, would continue to use their devices.
"""

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NoReturn

from krona.messages import KronaError

OVERWRITE = re.compile(r"\+*overwrite=true", re.IGNORECASE)  # Hydra passes overwrite=True to the jobs of a multirun
PARENT = "KRONA_PARENT"  # environment variable with the id of the process with which a child process ends
THREAD = "parent process"  # the name of the thread that watches the parent process
POLL_S = 1.0  # the interval between two checks of the parent process, in seconds
GRACE_S = 3  # seconds in which this process can record the interrupt, and then seconds in which it can exit
_received: list[int] = []  # numbers of the signals that arrived during this run


def num_processes() -> int:
    """Return the number of processes that torchrun or srun started for this run."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))  # only srun sets this variable, unlike SLURM_NTASKS


def my_rank() -> int:
    """Return the rank of this process in its run."""
    if num_processes() == 1:
        return 0
    return int(os.environ["RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "SLURM_PROCID"])


def require_one_launch() -> None:
    """Check that torchrun or srun did not start a multirun (``-m``) as several processes.

    Raises:
        KronaError: this process is one of several processes of a multirun.
    """
    if num_processes() > 1:
        raise KronaError(
            f"torchrun or srun started {num_processes()} processes of this sweep (-m), and each process would run the "
            "whole sweep. Start the sweep without torchrun and srun. To train each run on N devices, use "
            "trainer.devices=N."
        )


def slurm_job() -> list[str | int] | None:
    """Return the id of this SLURM job and the number of its restarts, or None outside of SLURM."""
    number = os.environ.get("SLURM_JOB_ID")  # differs between the jobs of an array
    return None if number is None else [number, int(os.environ.get("SLURM_RESTART_COUNT", "0"))]


def is_requeued() -> bool:
    """Return whether SLURM has requeued this job. A requeued job ignores ``overwrite=true``."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0


def is_alive(pid: object) -> bool:
    """Return whether a process with this process id runs on this machine.

    On Linux, a killed process whose parent has not read its exit code yet (a zombie) does not count as alive.
    """
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # not Linux
        return True


class Interrupted(BaseException):
    """The exception that Ctrl-C or SIGTERM raises to stop the run. The same command resumes the run."""


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


@cache  # one thread is enough
def end_with_parent() -> None:
    """If this process belongs to another process, start a thread that ends this process when the other has ended.

    This applies to workers, to worker processes of joblib, and to the ranks of torchrun. A rank also ends with the
    sweep that started torchrun, and torchrun ends with its ranks. No other process is affected, such as a job of SLURM.
    """
    parents = [int(os.environ.pop(PARENT))] if PARENT in os.environ else []
    if (process := multiprocessing.parent_process()) is not None and process.pid is not None:  # joblib
        parents.append(process.pid)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        parents.append(os.getppid())
    if parents:
        threading.Thread(target=_watch, args=(parents,), name=THREAD, daemon=True).start()


def limit_exit() -> None:
    """Kill this process after ``GRACE_S`` seconds if it belongs to another process and has not exited by then.

    An interrupted process calls this function before it exits. While Python exits, which can take many seconds on a
    busy machine, the thread of `end_with_parent` no longer runs, and torchrun waits up to 30 seconds for its ranks.
    """
    if any(thread.name == THREAD for thread in threading.enumerate()):
        signal.alarm(GRACE_S)


def _watch(parents: Sequence[int]) -> None:
    while all(map(is_alive, parents)):
        time.sleep(POLL_S)
    # SIGALRM kills this process if its main thread waits for another rank, or if Python takes long to exit.
    signal.alarm(GRACE_S)
    os.kill(os.getpid(), signal.SIGTERM)  # a run records that it was interrupted
