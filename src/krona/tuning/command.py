"""The command `krona tune`: one worker or several on a study, the best trial, and the command that runs it."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from krona.jobs.processes import children, end_with_parent, quiet_libraries
from krona.messages import KronaError, amount
from krona.outputs.study import study_path
from krona.paths import OUTPUTS, first_of, sweeps_folders
from krona.screen import as_typed, say
from krona.training.machine import cpu_count
from krona.tuning.tune import tune

WORKER = "KRONA_TUNE_WORKER"  # in the further processes that the command starts: its process


def tune_here(
    overrides: Sequence[str], *, trials: int, space: Path | None, study: str | None, workers: int, seed: int
) -> None:
    """Tune with ``workers`` processes on one study; print the best trial and its command."""
    quiet_libraries()
    if study is not None:
        study_path(OUTPUTS, study)  # raises for what is no name
    console = Console(soft_wrap=True)
    space = space or first_of(sweeps_folders(), "tune/default.yaml")
    shared = list(overrides)
    if workers > 1 and not any(item.startswith("trainer.threads=") for item in overrides):
        shared.append(f"trainer.threads={max(1, cpu_count() // workers)}")
    with children(announce=WORKER not in os.environ) as others:
        if WORKER in os.environ:
            end_with_parent(int(os.environ[WORKER]))
        for number in range(1, workers):
            others.append(_start(shared, trials, space, study, seed + 1000 * number))
        found, best = tune(shared, trials=trials, outputs=OUTPUTS, space=space, console=console, name=study, seed=seed)
        for other in others:
            other.wait()
    if WORKER in os.environ:
        return  # the process that started this one prints the result
    if any(other.returncode for other in others):
        raise KronaError("a worker failed; its error is above. The same command resumes the study")
    say(console, f"best of {amount(len(found.trials), 'trial')}: dev {best.value:.2f}, {best.run_id}")
    say(console, as_typed(f"  python train.py {shlex.join([*overrides, *best.overrides])}"))


def _start(overrides: Sequence[str], trials: int, space: Path, study: str | None, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "krona", "tune", *overrides, f"--trials={trials}", f"--space={space}"]
    command += [f"--seed={seed}", *([f"--study={study}"] if study else [])]
    return subprocess.Popen(command, env={**os.environ, WORKER: str(os.getpid())})
