"""The loop of `krona tune`: values from the study, an ordinary run with them, its dev score back to the study."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from krona.config import check
from krona.config.compose import STUDIES, TUNED, Composed, compose_job, hydra_session, is_overridden, jobs_of
from krona.config.hydra_folders import record
from krona.config.overrides import explained, normalised
from krona.jobs.job import Job, identify
from krona.jobs.processes import Interrupted
from krona.jobs.run_job import run_job
from krona.messages import KronaError
from krona.outputs.run_id import canonical, flatten
from krona.outputs.studies import Axis, Study, Trial, no_best, read_study
from krona.outputs.study import counted, default_name, me, open_study, put_back_dead, remove_unused, study_path, void
from krona.paths import PROJECT
from krona.screen import inert
from krona.tuning.space import in_words, overrides, read_space

FAILURES_IN_A_ROW = 3  # so many at the start: the command itself is wrong


@dataclass
class Tuning:
    """One command's work on a study."""

    typed: Sequence[str]  # the user's overrides: method=krona task=rte
    axes: tuple[Axis, ...]
    name: str
    study: Any
    outputs: Path
    console: Console
    failures: list[str] = field(default_factory=list)


def tune(
    typed: Sequence[str],
    *,
    trials: int,
    outputs: Path,
    space: Path,
    console: Console,
    name: str | None = None,
    seed: int = 0,
) -> tuple[Study, Trial]:
    """Begin or resume a study until ``trials`` of its trials count; the study and its best trial.

    The study maximises the score that selects epochs on dev; test is not used (``score_test=false``).

    Raises:
        KronaError: the command is wrong, or the study searched another space.
        Interrupted: Ctrl-C; the same command resumes.
    """
    base = compose_run([*typed, "score_test=false"]).config
    check.settings(base, own=True)  # a wrong key begins no study
    axes, kept = split_typed(read_space(space, base), typed)
    if not axes:
        raise KronaError(
            f"{' '.join(kept)}: what is typed is fixed, so nothing is left to search in {space}: leave one out, "
            "or --space FILE names other axes"
        )
    name = name or default_name(base)
    fixed = held_fixed(base, axes)
    study = open_study(
        outputs, name, space=in_words(axes), base=fingerprint(base, fixed), settings=dict(flatten(fixed)), seed=seed
    )
    tuning = Tuning(typed, axes, name, study, outputs, console)
    console.print(inert(f"study {name}: {in_words(axes)}"), highlight=False, markup=False, soft_wrap=True)
    if kept:
        console.print(inert(f"  fixed: {' '.join(kept)}"), highlight=False, markup=False, soft_wrap=True)
    while True:
        back = put_back_dead(study, outputs)
        if back:
            console.print(inert(f"  {back} unfinished trial(s) will resume"), highlight=False)
        if len(counted(study)) >= trials:
            break
        trial = study.ask()
        trial.set_user_attr("worker", me())  # before anything else: a trial without a worker does not count
        for axis in axes:
            axis.suggest(trial)
        if sum(other.number < trial.number for other in counted(study)) >= trials:  # another worker was faster
            void(study, trial.number)
            break
        run_trial(tuning, trial)
    found = read_study(study_path(outputs, name))
    if found.best is None:
        raise no_best(found)
    return found, found.best


def run_trial(tuning: Tuning, trial: Any) -> None:
    """One trial: a run that is pruned once its dev score is below the other trials' median."""
    from optuna.trial import TrialState

    own = overrides(tuning.axes, trial.params)
    trial.set_user_attr("overrides", own)
    pruned = False

    def report(learner: Any) -> None:
        nonlocal pruned
        trial.report(learner.best["choice"], step=len(learner.dev_curve))
        if trial.should_prune():
            pruned = True
            raise Interrupted

    tuning.console.print(inert(f"trial {trial.number}: {' '.join(own)}"), highlight=False, markup=False, soft_wrap=True)
    try:
        run = compose_run([*tuning.typed, *own, "score_test=false", f"sweep={tuning.name}"])
        trial.set_user_attr("run_id", identify(check.settings(run.config, own=True)))
        job = run_job(
            run.config,
            notes=run.notes,
            outputs=tuning.outputs,
            project=PROJECT,
            console=tuning.console,
            multirun=False,
            after_epoch=report,
            record=record(run),
        )
    except Interrupted:
        if not pruned:
            raise  # the trial stays unfinished: the next command repeats it
        tuning.study.tell(trial, state=TrialState.PRUNED)
        tuning.console.print(inert(f"trial {trial.number}: pruned"), highlight=False)
        return
    except KronaError as error:
        trial.set_user_attr("error", str(error))
        tuning.study.tell(trial, state=TrialState.FAIL)
        remove_unused(tuning.study, tuning.outputs, tuning.name)
        raise
    _tell(tuning, trial, job)


def _tell(tuning: Tuning, trial: Any, job: Job) -> None:
    from optuna.trial import TrialState

    if job.result is None or job.result.dev is None or job.state not in ("done", "skipped"):
        error = job.error or job.state
        trial.set_user_attr("error", error)
        tuning.study.tell(trial, state=TrialState.FAIL)
        tuning.console.print(inert(f"trial {trial.number}: {job.state}: {error}"), highlight=False, markup=False)
        tuning.failures.append(error)
        if len(tuning.failures) == len(counted(tuning.study)) >= FAILURES_IN_A_ROW:
            raise KronaError(f"the first {len(tuning.failures)} trials all failed: {error}")
        return
    score = float(job.result.dev["choice"])
    tuning.study.tell(trial, score)
    best = tuning.study.best_trial
    line = f"trial {trial.number}: dev {score:.2f}; best {best.value:.2f} (trial {best.number})"
    tuning.console.print(inert(line), highlight=False)


def compose_run(typed: Sequence[str]) -> Composed:
    """train.py's config and notes for these arguments. Raises KronaError where train.py would."""
    ready = normalised(typed)
    if any(item.lstrip("+").split(STUDIES)[0] == TUNED for item in ready):
        raise KronaError("recipe=tuned takes what a search found, and krona tune is the search: leave it out")
    with explained(ready), hydra_session():
        if len(jobs := jobs_of({}, ready)) > 1:
            raise KronaError(f"{' '.join(typed)}: {len(jobs)} runs, and a study tunes one: a command for each")
        return compose_job(ready)


def split_typed(axes: Sequence[Axis], typed: Sequence[str]) -> tuple[tuple[Axis, ...], list[str]]:
    """The axes left to search, and the overrides that fix the others. What an axis sets ``also`` gives way as well."""
    fixed = {
        item: [a for a in axes if is_overridden(a.key, [item]) or is_overridden(a.needs, [item])] for item in typed
    }
    kept = [item for item, own in fixed.items() if own]
    left = [axis for axis in axes if not any(axis in own for own in fixed.values())]
    return tuple(
        replace(axis, also="") if is_overridden(axis.also.split("=")[0], typed) else axis for axis in left
    ), kept


def held_fixed(config: dict[str, Any], axes: Sequence[Axis]) -> dict[str, Any]:
    """The settings that decide a run and that no axis sets: equal in all trials of a study."""
    kept: dict[str, Any] = json.loads(json.dumps(canonical(config)))
    for axis in axes:
        *parents, last = (axis.needs or axis.key).split(".")
        part = kept
        for parent in parents:
            part = part.get(parent, {})
        part.pop(last, None)
    return kept


def fingerprint(config: dict[str, Any], fixed: dict[str, Any]) -> str:
    """Method, task, backbone, seed and a hash of all that the study holds fixed."""
    digest = hashlib.blake2b(json.dumps(fixed, sort_keys=True).encode(), digest_size=4).hexdigest()
    words = [config[group]["name"] for group in ("method", "task", "backbone")]
    return f"{' '.join(words)} seed {config['seed']} [{digest}]"
