"""Run all runs of a sweep with ``train.py -m``, in one or several processes."""

import os
import subprocess
from collections.abc import Sequence

from krona.messages import KronaError
from krona.paths import program
from krona.training.jobs.child_processes import PARENT, children, exit_code


def run_sweep(overrides: Sequence[str], *, workers: int) -> int:
    """Run a sweep, and return the exit code of ``train.py``.

    The joblib launcher distributes the runs over ``workers`` processes. After an interrupt, this process waits until
    ``train.py`` has ended, and then exits with the exit code of an interrupt.
    """
    if workers > 1:
        if launcher := next((item for item in overrides if item.startswith("hydra/launcher=")), None):
            raise KronaError(
                f"--workers {workers} and {launcher} both choose where the runs take place. Use one of them."
            )
        overrides = [*overrides, "hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}"]
    with children(announce=False) as started:  # train.py itself reports the interrupt
        environment = {**os.environ, PARENT: str(os.getpid())}
        started.append(subprocess.Popen([*program("train"), "-m", *overrides], env=environment))
        started[0].wait()
    return exit_code(started[0])
