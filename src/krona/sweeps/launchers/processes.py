"""Several jobs at a time in joblib's processes. A process that is killed takes its own job with it and no other."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from krona.jobs.job import Job
from krona.sweeps.launchers.task import Task
from krona.training.machine import cpu_count

Ended = Callable[[Task, Job | str], None]  # a job, or why there is none


def run(tasks: Sequence[Task], *, n_jobs: int, ended: Ended) -> None:
    """Run all tasks in ``n_jobs`` processes (-1: one a core) that keep the backbone from job to job.

    ``ended`` is called for each, one at a time. An interrupt is passed on to the processes and waited for.
    """
    import joblib.externals.loky  # noqa: F401 - before the threads, which would import it all at once

    count, cores = shares(n_jobs, tasks)
    lock = threading.Lock()
    waiting = iter(tasks)

    def tell(task: Task, outcome: Job | str) -> None:
        with lock:
            ended(task, outcome)

    def following() -> Task | None:
        with lock:
            return None if stopped.is_set() else next(waiting, None)

    stopped = threading.Event()
    slots = [Slot(environment(slot, threads=cores), stopped) for slot in range(count)]
    threads = [threading.Thread(target=slot.run, args=(iter(following, None), tell), daemon=True) for slot in slots]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(timeout=0.2)  # in between, signals are heard
    except BaseException:
        stopped.set()
        for slot in slots:
            slot.terminate()
        for thread in threads:
            thread.join()
        raise


def shares(n_jobs: int, tasks: Sequence[Task]) -> tuple[int, int]:
    """How many jobs run at a time (of -1: one a core), and how many of this machine's cores are each one's."""
    cores = cpu_count()
    count = min(cores if n_jobs < 0 else max(1, n_jobs), len(tasks))
    return count, max(1, cores // count)


class Slot:
    """A place for one process, and for the next where it is killed."""

    def __init__(self, env: dict[str, str], stopped: threading.Event) -> None:
        self.env, self.stopped = env, stopped
        self.pid: int | None = None

    def run(self, tasks: Iterator[Task], ended: Ended) -> None:
        from joblib.externals.loky import ProcessPoolExecutor
        from joblib.externals.loky.process_executor import BrokenProcessPool

        executor: Any = None
        for task in tasks:
            try:
                if executor is None:
                    executor = ProcessPoolExecutor(max_workers=1, env=self.env, initializer=begin)
                    self.pid = executor.submit(os.getpid).result()
                if self.stopped.is_set():
                    break
                outcome: Job | str = executor.submit(task).result()
            except BrokenProcessPool:
                outcome = f"process {self.pid} was killed (out of memory?); the same command goes on where it stopped"
                executor = self.pid = None
            except BaseException as error:  # from the process; the sweep goes on, and the error is this job's
                outcome = str(error) or type(error).__name__
            ended(task, outcome)
        if executor is not None:
            executor.shutdown(wait=True)

    def terminate(self) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)


def begin() -> None:
    """In a new process: no word on the screen that all share, no Ctrl-C but through who started it."""
    from joblib.externals.loky import process_executor

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize  # the backbone that stays for the next job is no leak


def environment(slot: int, *, threads: int) -> dict[str, str]:
    """Its share of the cores, where nothing else is said, and of several GPUs one."""
    import torch

    env = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = chosen.split(",") if chosen else [str(card) for card in range(torch.cuda.device_count())]
    return {**env, "CUDA_VISIBLE_DEVICES": cards[slot % len(cards)]} if len(cards) > 1 else env
