"""Search for hyper-parameters with one or several processes (`krona tune`).

A study of Optuna chooses the values of a trial, and krona reports the dev score of the trial's run to the study.
Hydra's Optuna plugin is not used, because it requires Optuna < 3, cannot prune trials, and counts the trials of each
command from 0.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from krona.config import check
from krona.config.compose import STUDIES, TUNED, Composed, compose_job, hydra_session
from krona.config.multirun import list_jobs
from krona.config.overrides import normalize, translate_errors
from krona.formatting import as_typed, say
from krona.messages import KronaError, amount
from krona.paths import OUTPUTS, find_first, sweeps_folders
from krona.runs.holder import this_process
from krona.runs.interrupts import Interrupted
from krona.runs.run_id import flatten
from krona.runs.studies import Axis, read_study
from krona.runs.tune_study import (
    counted_trials,
    default_study_name,
    discard_trial,
    is_discarded,
    open_study,
    remove_unused,
    repeat_dead_trials,
    study_path,
)
from krona.sweeps.tune_space import (
    constant_settings,
    fingerprint,
    read_space,
    split_typed,
    trial_overrides,
)
from krona.training.jobs.child_processes import PARENT, children, end_with_parent
from krona.training.jobs.job import Job, JobSpec
from krona.training.jobs.library_warnings import quiet_libraries
from krona.training.jobs.run_job import run_job
from krona.training.machine import cpu_count

MAX_FIRST_FAILURES = 3  # if the first three trials fail, the command is probably wrong and the search stops
REDRAW_S = 10.0  # seconds before a process draws other values because another process runs the same ones


@dataclass
class Tuning:
    """The state of one `krona tune` command."""

    typed: Sequence[str]  # the user's overrides: method=krona task=rte
    axes: tuple[Axis, ...]
    name: str
    study: Any
    outputs: Path
    console: Console
    failures: list[str] = field(default_factory=list)

    def end_trial(self, trial: Any, state: str, *, error: str | None = None) -> None:
        """Record that a trial ended without a score. ``state`` is ``PRUNED`` or ``FAIL``."""
        from optuna.trial import TrialState

        if not is_discarded(self.study, trial.number):
            if error is not None:
                trial.set_user_attr("error", error)
            self.study.tell(trial, state=TrialState[state])


def tune(
    typed: Sequence[str],
    *,
    trials: int,
    outputs: Path,
    space: Path,
    console: Console,
    name: str | None = None,
    seed: int = 0,
) -> str:
    """Create or resume a study, run trials until it has ``trials`` trials, and return the name of the study.

    The study maximises the dev score of the best epoch (the mean of all metrics). Test is not scored.

    Args:
        typed: the user's overrides.
        name: the name of the study; None for the default name.

    Raises:
        KronaError: the command is wrong, or the study was created with another search space or other settings.
        Interrupted: the user pressed Ctrl-C. The same command resumes the study.
    """
    base = compose_run([*typed, "score_test=false"]).config
    check.settings(base, own=True)  # find errors before a study is created
    axes, fixed = split_typed(read_space(space, base), typed)
    if not axes:
        raise KronaError(
            f"All searched parameters are fixed on the command line: {' '.join(fixed)}. Remove one of these overrides, "
            f"or use --space FILE with parameters that are not in {space}."
        )
    name = name or default_study_name(base)
    constant = constant_settings(base, axes)
    line = ", ".join(axis.words() for axis in axes)
    digest, settings = fingerprint(base, constant), dict(flatten(constant))
    study = open_study(outputs, name, space=line, base=digest, settings=settings, seed=seed)
    tuning = Tuning(typed, axes, name, study, outputs, console)
    say(tuning.console, f"study {name}: {line}")
    if fixed:
        say(tuning.console, f"  fixed: {' '.join(fixed)}")
    while (trial := next_trial(tuning, trials)) is not None:
        run_trial(tuning, trial)
    return name


def next_trial(tuning: Tuning, trials: int) -> Any:
    """Return a new trial, or None if the study has ``trials`` trials. Trials of dead processes are repeated first."""
    study = tuning.study
    if resumed := repeat_dead_trials(study, tuning.outputs):
        say(tuning.console, f"  {resumed} unfinished trial(s) will be resumed")
    if len(counted_trials(study)) >= trials:
        return None
    trial = study.ask()  # does not count until it has a worker
    trial.set_user_attr("worker", this_process() | {"asked": time.time()})
    for axis in tuning.axes:
        axis.suggest(trial)
    if sum(other.number < trial.number for other in counted_trials(study)) >= trials:  # another worker was first
        discard_trial(study, trial.number)
        return None
    return trial


def run_trial(tuning: Tuning, trial: Any) -> None:
    """Run one trial. The trial is pruned (stopped early) if its dev score is below the median of the other trials."""
    values = trial_overrides(tuning.axes, trial.params)
    trial.set_user_attr("overrides", values)
    pruned = False

    def report(learner: Any) -> None:
        nonlocal pruned
        trial.report(learner.best["choice"], step=len(learner.dev_curve))
        if trial.should_prune():
            pruned = True
            raise Interrupted

    say(tuning.console, f"trial {trial.number}: {' '.join(values)}")
    try:
        run = compose_run([*tuning.typed, *values, "score_test=false", f"sweep={tuning.name}"])
        spec = JobSpec(
            config=run.config,
            stored=run.stored,
            outputs=tuning.outputs,
            notes=run.notes,
            record=run.record(),
            after_epoch=report,
        )
        trial.set_user_attr("run_id", spec.run_id)
        job = run_job(spec, tuning.console)
    except Interrupted as stop:
        if not pruned or stop.args:  # a signal, which has its number
            raise  # the trial remains unfinished, and the next command repeats it
        tuning.end_trial(trial, "PRUNED")
        say(tuning.console, f"trial {trial.number}: pruned")
    except KronaError as error:
        tuning.end_trial(trial, "FAIL", error=str(error))
        remove_unused(tuning.study, tuning.outputs, tuning.name)
        raise
    else:
        _record_score(tuning, trial, job)


def _record_score(tuning: Tuning, trial: Any, job: Job) -> None:
    if is_discarded(tuning.study, trial.number):
        say(tuning.console, f"trial {trial.number}: does not count, because another process repeats it")
        return
    if job.state == "claimed_by_other":
        discard_trial(tuning.study, trial.number)
        say(tuning.console, f"trial {trial.number}: another process runs these values; other values will be drawn")
        time.sleep(REDRAW_S)
        return
    if job.result is None or job.result.dev is None or job.state not in ("done", "skipped"):
        error = job.error or job.state
        tuning.end_trial(trial, "FAIL", error=error)
        say(tuning.console, f"trial {trial.number}: {job.state}: {error}")
        tuning.failures.append(error)
        if len(tuning.failures) == len(counted_trials(tuning.study)) >= MAX_FIRST_FAILURES:
            raise KronaError(f"The first {len(tuning.failures)} trials all failed: {error}")
        return
    score = float(job.result.dev["choice"])
    tuning.study.tell(trial, score)
    best = tuning.study.best_trial
    say(tuning.console, f"trial {trial.number}: dev {score:.2f}; best {best.value:.2f} (trial {best.number})")


def compose_run(typed: Sequence[str]) -> Composed:
    """Compose the config of the run that train.py would start with these arguments.

    Raise `KronaError` if they are wrong, describe several runs, or contain recipe=tuned.
    """
    ready = normalize(typed)
    if any(item.lstrip("+").split(STUDIES)[0] == TUNED for item in ready):
        raise KronaError("A search can't use recipe=tuned, which is the result of a search. Remove recipe=tuned.")
    with translate_errors(ready), hydra_session():
        if len(jobs := list_jobs({}, ready)) > 1:
            raise KronaError(
                f"{' '.join(typed)} describes {len(jobs)} runs, but a study tunes one. Use one command for each run."
            )
        return compose_job(ready)


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
        name = tune(shared, trials=trials, outputs=OUTPUTS, space=space, console=console, name=study, seed=seed)
        for other in others:
            other.wait()
    if parent is not None:
        return  # the parent process prints the result
    if any(other.returncode for other in others):
        raise KronaError("A process failed. Its error is above. Run the same command again to resume the study.")
    result = read_study(study_path(OUTPUTS, name))  # with the last trials of the other processes
    best, running = result.require_best(), sum(trial.state == "running" for trial in result.trials)
    if running:
        say(console, f"{amount(running, 'trial')} of this study still run in another process")
    say(console, f"best of {amount(len(result.trials) - running, 'trial')}: dev {best.value:.2f}, {best.run_id}")
    say(console, as_typed(f"  python train.py {shlex.join([*overrides, *best.overrides])}"))
