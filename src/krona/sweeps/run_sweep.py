"""Run a sweep in a process of its own, so that a command can print a report afterwards (`krona table`)."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from krona.paths import program
from krona.runs.processes import PARENT, Interrupted, exit_on_interrupt, signal_number

RUN_IDS = "KRONA_RUN_IDS"  # environment variable with a file in which the multirun writes the ids of its runs
GRACE_S = 5.0  # seconds for which this process waits for a process that has received Ctrl-C itself


def run_sweep(overrides: Sequence[str]) -> tuple[int, set[str] | None]:
    """Run all runs of a sweep. Return the exit code and the ids of the valid runs.

    The ids are None if the sweep could not be planned. After an interrupt, this process waits for the sweep and then
    exits. If this process is killed, the sweep ends (`krona.runs.processes`).
    """
    with tempfile.TemporaryDirectory() as folder, exit_on_interrupt(announce=False):  # the sweep announces it
        file = Path(folder) / "run_ids.txt"
        environment = {**os.environ, PARENT: str(os.getpid()), RUN_IDS: str(file)}
        process = subprocess.Popen([*program("train"), "-m", *overrides], env=environment)
        try:
            code = process.wait()
        except BaseException as error:
            if isinstance(error, Interrupted) and signal_number(error) == signal.SIGINT:
                with suppress(subprocess.TimeoutExpired):  # the terminal sends Ctrl-C to the sweep, too
                    process.wait(GRACE_S)
            process.terminate()  # has no effect on a process that has ended
            process.wait()
            raise
        ids = set(file.read_text().split()) if file.exists() else None
    return code if code >= 0 else 128 - code, ids
