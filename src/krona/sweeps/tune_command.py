"""Search for hyper-parameters with one or several processes, and print the best trial (`krona tune`)."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from krona.formatting import as_typed, say
from krona.jobs.child_processes import PARENT, children, end_with_parent
from krona.jobs.library_warnings import quiet_libraries
from krona.messages import KronaError, amount
from krona.paths import OUTPUTS, find_first, sweeps_folders
from krona.runs.tune_study import study_path
from krona.sweeps.tune import tune
from krona.training.machine import cpu_count


def tune_here(
    overrides: Sequence[str], *, trials: int, space: Path | None, study: str | None, workers: int, seed: int
) -> None:
    """Search with several processes that share a study. Print the best trial and the command that trains with it.

    ``workers`` is the number of processes, including this one. A search space or study that is None is the default.
    """
    quiet_libraries()
    if study is not None:
        study_path(OUTPUTS, study)  # raises KronaError for a wrong name
    console = Console(soft_wrap=True)
    space = space or find_first(sweeps_folders(), "tune/default.yaml")
    shared = list(overrides)
    if workers > 1 and not any(item.startswith("trainer.threads=") for item in overrides):
        shared.append(f"trainer.threads={max(1, cpu_count() // workers)}")
    parent = os.environ.pop(PARENT, None)  # is set if another process of this search started this process
    with children(announce=parent is None) as others:
        if parent is not None:
            end_with_parent(int(parent))
        command = [sys.executable, "-P", "-m", "krona", "tune", *shared, f"--trials={trials}", f"--space={space}"]
        command += [f"--study={study}"] if study else []
        environment = {**os.environ, PARENT: str(os.getpid())}
        for number in range(1, workers):
            others.append(subprocess.Popen([*command, f"--seed={seed + 1000 * number}"], env=environment))
        result, best = tune(shared, trials=trials, outputs=OUTPUTS, space=space, console=console, name=study, seed=seed)
        for other in others:
            other.wait()
    if parent is not None:
        return  # the parent process prints the result
    if any(other.returncode for other in others):
        raise KronaError("A process failed. Its error is above. Run the same command again to resume the study.")
    say(console, f"best of {amount(len(result.trials), 'trial')}: dev {best.value:.2f}, {best.run_id}")
    say(console, as_typed(f"  python train.py {shlex.join([*overrides, *best.overrides])}"))
