"""Run all runs of a sweep, in one or several processes."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from krona.formatting import say
from krona.jobs.child_processes import PARENT, children, exit_code
from krona.messages import KronaError
from krona.paths import program
from krona.runs.folder import OPEN
from krona.sweeps import status
from krona.sweeps.plan import plan

ATTEMPTS = 3  # maximum number of times that the sweep is started


def run_sweep(overrides: Sequence[str], *, workers: int, outputs: Path, console: Console) -> int:
    """Run a sweep with ``train.py -m``.

    If there are several workers, the runs are distributed over processes by the joblib launcher. If a process was
    killed, the unfinished runs are started again, with at most `ATTEMPTS` attempts in total. After an interrupt, this
    process waits until ``train.py`` has ended, and then exits with the exit code of an interrupt.

    Args:
        overrides: the overrides of the sweep.
        workers: the number of processes.
        outputs: the folder that contains the folders of the runs.
        console: the console to print to.

    Returns:
        The exit code. It is 0 if all runs are done.
    """
    if workers == 1:
        return _train(overrides)
    if launcher := next((item for item in overrides if item.startswith("hydra/launcher=")), None):
        raise KronaError(f"--workers {workers} and {launcher} both choose where the runs take place. Use one of them.")
    runs = plan(overrides, outputs=outputs)
    say(console, status.counts_line(runs))
    for _ in range(ATTEMPTS):
        left = sum(run.state != "done" for run in runs)
        before = [(run.state, run.result) for run in runs]
        processes = min(workers, left) or workers  # none left: overwrite=true repeats done runs
        code = _train([*overrides, "hydra/launcher=joblib", f"hydra.launcher.n_jobs={processes}"])
        runs = status.refresh(runs, outputs)
        unchanged = [(run.state, run.result) for run in runs] == before  # then the reason is an error, not a kill
        if code != 1 or unchanged or not any(run.state in OPEN for run in runs):
            break
    return code or int(any(run.state != "done" for run in runs))


def _train(overrides: Sequence[str]) -> int:
    with children(announce=False) as started:  # train.py itself reports the interrupt
        environment = {**os.environ, PARENT: str(os.getpid())}
        started.append(subprocess.Popen([*program("train"), "-m", *overrides], env=environment))
        started[0].wait()
    return exit_code(started[0])
