"""Run a command in several processes on this machine (`krona table --workers`, `krona tune --workers`).

Each process claims the runs that it trains, so no process has to distribute the runs.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from krona.formatting import say
from krona.messages import KronaError, plural
from krona.paths import program
from krona.runs.interrupts import OVERWRITE, Interrupted, exit_interrupted, interrupt, signal_number
from krona.runs.parent_process import PARENT
from krona.runs.sweep import default_sweep_name
from krona.training.machine import cpu_count

WORKER = "KRONA_WORKER"  # environment variable with the number of this worker, such as 1/4
RUN_IDS = "KRONA_RUN_IDS"  # environment variable with a file in which the multirun writes the ids of its runs
GRACE_S = 5.0  # seconds for which this process waits for workers that have received Ctrl-C themselves


def worker_number() -> int | None:
    """Return the number of this worker, from 0, or None if this process is not a worker."""
    number = os.environ.get(WORKER)
    return None if number is None else int(number.partition("/")[0])


def worker_count() -> int:
    """Return the number of workers of this command, or 1 if this process is not a worker."""
    return int(os.environ.get(WORKER, "0/1").partition("/")[2])


@contextmanager
def exit_on_interrupt(*, announce: bool) -> Iterator[None]:
    """After Ctrl-C or SIGTERM, exit with 128 + the signal number. If ``announce``, also print how to resume."""
    handlers = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Interrupted as stop:
        exit_interrupted(stop, announce=announce)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run_workers(command: Sequence[str], count: int, variables: Mapping[str, str] | None = None) -> list[int]:
    """Run a command in ``count`` processes at the same time, and return their exit codes.

    ``variables`` are additional environment variables. If ``count`` is above 1, the processes are workers
    (`worker_number`). The exit code of a process that was killed by a signal is the negative signal number, as in
    `subprocess`. After an interrupt, this process waits for the workers
    and then exits. If this process is killed, the workers end (`krona.runs.parent_process`).
    """
    started: list[subprocess.Popen[bytes]] = []
    with exit_on_interrupt(announce=count > 1):  # a single process announces the interrupt itself
        try:
            for number in range(count):
                own = {PARENT: str(os.getpid()), **(variables or {}), **_environment(number, count)}
                started.append(subprocess.Popen(command, env={**os.environ, **own}))
            return [process.wait() for process in started]
        except BaseException as error:
            by_terminal = isinstance(error, Interrupted) and signal_number(error) == signal.SIGINT
            for process in started if by_terminal else []:  # the terminal sends Ctrl-C to the workers, too
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_S)
            for process in started:
                process.terminate()  # has no effect on a process that has ended
            for process in started:
                process.wait()
            raise


def _environment(number: int, count: int) -> dict[str, str]:
    """Return the environment variables of a worker: its number, its CPU threads and, with several GPUs, its GPU."""
    if count == 1:
        return {}
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = visible.split(",") if visible else [str(card) for card in range(torch.cuda.device_count())]
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cpu_count() // count)))
    gpu = {"CUDA_VISIBLE_DEVICES": cards[number % len(cards)]} if len(cards) > 1 else {}
    return {WORKER: f"{number}/{count}", "OMP_NUM_THREADS": threads, **gpu}


def run_sweep(overrides: Sequence[str], *, outputs: Path, workers: int) -> tuple[int, set[str] | None]:
    """Run all runs of a sweep in one or several processes. Return the exit code and the ids of the valid runs.

    The ids are None if the sweep could not be planned. If a worker is killed, another process resumes its run after the
    other workers have ended.
    """
    command = [*program("train"), "-m", *overrides]
    if workers == 1:
        with tempfile.TemporaryDirectory() as folder:  # the process plans the sweep, which takes seconds
            file = Path(folder) / "run_ids.txt"
            (code,) = run_workers(command, 1, {RUN_IDS: str(file)})
            ids = set(file.read_text().split()) if file.exists() else None
        return code if code >= 0 else 128 - code, ids
    if repeats := next((item for item in overrides if OVERWRITE.fullmatch(item)), None):
        raise KronaError(f"With --workers, {repeats} would repeat each run in each worker. Remove --workers.")
    from krona.sweeps.output import close  # imports torch
    from krona.sweeps.plan import list_states

    console = Console(soft_wrap=True)
    planned = list_states(overrides, outputs=outputs)
    say(console, f"{plural(len(planned), 'run')} in {plural(workers, 'worker')}")
    if killed := sum(code < 0 for code in run_workers(command, workers)):
        say(console, f"{plural(killed, 'worker')} killed, possibly because memory ran out. Resuming the run.")
        run_workers(command, workers)
    name = next((run.config["sweep"] for run in planned if run.config), None)
    code = close(planned, console, sweep=name or default_sweep_name(overrides), named=name is not None)
    return code, {run.run_id for run in planned if run.state != "wrong"}
