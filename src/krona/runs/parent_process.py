"""End this process when the process that started it has ended, also if that process was killed by SIGKILL.

Otherwise, the workers of a killed command, or the ranks of a killed torchrun, would continue to use their devices.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from functools import cache

from krona.runs.claim import is_alive

PARENT = "KRONA_PARENT"  # environment variable with the id of the process with which a child process ends
THREAD = "parent process"  # the name of the thread that watches the parent process
POLL_S = 1.0  # the interval between two checks of the parent process, in seconds
GRACE_S = 3  # seconds in which this process can record the interrupt, and then seconds in which it can exit


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
