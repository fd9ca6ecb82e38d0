"""Search for hyper-parameters with Optuna, in one or several processes (`krona tune`).

Each trial is a run. An Optuna study chooses the values of the run, receives the run's dev score after each epoch, and
stops (prunes) a run whose score is below the median. The run's claim shows whether the process of an unfinished trial
is alive. If the process has died, the next process resumes the trial.
"""

import shlex
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate, count
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.console import Console

from krona.config import check
from krona.config.compose import Composed, compose_job, hydra_session
from krona.config.derived_values import tuned_studies
from krona.config.overrides import expand_command
from krona.formatting import say
from krona.messages import KronaError, first_line, plural
from krona.paths import OUTPUTS, find_first, sweeps_folders
from krona.random_streams import stream_seed
from krona.runs.claim import LAPSE_S, is_dead, this_process
from krona.runs.folder import RunFolder, RunState
from krona.runs.processes import Interrupted, end_with_parent, exit_on_interrupt
from krona.runs.run_id import as_text, canonical, flatten
from krona.runs.studies import REFINED, default_study_name, import_optuna, open_storage, read_study, study_path
from krona.sweeps.search_space import Axis, free_axes, has_factor, is_below, next_point, read_space
from krona.training.plan import Plan, plan_run, require
from krona.training.run_job import run_job

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

    from krona.training.learner import Learner

MAX_FIRST_FAILURES = 3  # if the first three trials fail, the command is probably wrong and the search stops
PROCESS = "process"  # the attribute of a trial that describes the process that runs it


@dataclass(frozen=True)
class Search:
    """A study with the settings of a `krona tune` command."""

    study: "Study"
    name: str
    typed: Sequence[str]  # the user's overrides, such as method=krona task=rte
    axes: Sequence[Axis]
    outputs: Path
    console: Console
    seed: int = 0  # the seed of the search
    seeds: Sequence[int] = (0,)  # the seeds of the runs of each trial
    fresh_seeds: Sequence[int] = ()  # the seeds with which the best trials run again

    def suggest(self, trial: "Trial") -> list[str]:
        """Return the overrides of a trial.

        The sampler's seed depends only on the seed of the search, the trial's number and the axis. A resumed study
        therefore proposes the values of a study that was not interrupted.
        """
        self._seed_sampler(trial, 0)
        _ = trial.relative_params  # samples the axes that Optuna samples together
        values: list[str] = []
        for number, axis in enumerate(self.axes, 1):
            self._seed_sampler(trial, number)
            values += axis.suggest(trial)
        return values

    def report(self, trial: Any, text: str) -> None:
        say(self.console, f"trial {trial.number}: {text}")

    def _seed_sampler(self, trial: "Trial", axis: int) -> None:
        seed = stream_seed("trial", self.seed, rank=axis, step=trial.number)
        self.study.sampler = import_optuna().samplers.TPESampler(seed=seed, n_startup_trials=5)


def tune(
    typed: Sequence[str],
    *,
    name: str,
    trials: int,
    outputs: Path,
    space: Path,
    console: Console,
    seed: int,
    is_named: bool = False,
    later_trials: int = 0,
    seeds: int = 1,
    refine: int = 0,
) -> str:
    """Create or resume a study, and run trials until the study has ``trials`` trials. Return the name of the study.

    The study maximises the dev score of the best epoch (the mean of the metrics that select the epoch), averaged over
    the seeds of a trial. Test is scored only if ``typed`` sets ``score_test=true``.

    Args:
        typed: the user's overrides.
        name: the name of the study. A number is added if a study of this name has other settings.
        seed: the seed of the search.
        is_named: whether the user chose the name, which is then not changed.
        later_trials: the number of trials of later studies of the command, for the estimate of its time.
        seeds: the number of runs of each trial. Their seeds are the config's seed and the numbers after it.
        refine: run this number of the best trials again with as many other seeds. Their mean over these seeds then
            decides which trial is the best.

    Raises:
        KronaError: the command is invalid, or the user chose the name of a study with other settings.
        Interrupted: the user pressed Ctrl-C. The same command resumes the study.
    """
    composed = compose_run(["score_test=false", *typed])
    base = composed.config
    if not (axes := free_axes(read_space(space, base), typed)):
        raise KronaError(
            f"All searched parameters are fixed on the command line: {' '.join(typed)}. Remove one of these overrides, "
            f"or use --space FILE with parameters that are not in {space}."
        )
    require(check.settings(base, own=True))  # find errors before a study is created
    study, notes = open_study(outputs, name, composed.stored, axes, is_named=is_named, seeds=seeds)
    first = int(base["seed"])
    of_trials, fresh = range(first, first + seeds), range(first + seeds, first + 2 * seeds)
    search = Search(study, study.study_name, typed, axes, outputs, console, seed, of_trials, fresh)
    say(console, f"study {search.name}: {', '.join(axis.key for axis in axes)}")
    for note in notes:
        say(console, f"  {note}")
    is_first = True
    while (trial := next_trial(search, trials)) is not None:
        with suppress(import_optuna().exceptions.UpdateFinishedTrialError):  # another process has ended the trial
            run_trial(search, trial, runs_left=(trials - trial.number + later_trials) * seeds * is_first)
        is_first = False
    refine_best(search, refine)
    return search.name


def refine_best(search: Search, number: int) -> None:
    """Run the best trials again with fresh seeds, and store their mean dev scores in the study."""
    trials = read_study(study_path(search.outputs, search.name)).best_trials[:number]
    for trial in trials:
        if trial.refined is None:
            say(search.console, f"trial {trial.number} with other seeds: {' '.join(trial.overrides)}")
            runs = [_plan(search, trial.overrides, seed) for seed in search.fresh_seeds]
            scores = [_score(run_job(plan, search.console)) for plan in runs]
            search.study.set_user_attr(f"{REFINED}{trial.number}", fmean(scores))


def open_study(
    outputs: Path,
    name: str,
    config: Mapping[str, Any],
    axes: Sequence[Axis],
    *,
    is_named: bool = False,
    seeds: int = 1,
) -> tuple[Any, list[str]]:
    """Open the first of the studies ``name``, ``name-2``, ``name-3`` … that has these settings, or create it.

    Args:
        config: the stored config, without secrets and without the searched values.
        is_named: open or create only the study ``name``.
        seeds: the number of runs of each trial.

    Returns:
        The Optuna study, and a list with a note if it is not the study ``name``.

    Raises:
        KronaError: a study cannot be opened, or ``is_named`` is true and the study has other settings.
    """
    searched = {axis.needs or axis.key for axis in axes}
    settings = {key: as_text(value) for key, value in flatten(canonical(config)) if not is_below(key, searched)}
    settings["search space"] = "; ".join(f"{axis.key} {axis.values}" for axis in axes)
    settings["seeds of each trial"] = str(seeds)
    notes: list[str] = []
    for number in count(1):
        study = _load_study(outputs, name if number == 1 else f"{name}-{number}")
        if "settings" not in study.user_attrs:  # the study is new
            words = [str(config[group]["name"]) for group in ("method", "task", "backbone")]
            study.set_user_attr("base", f"{' '.join(words)} seed {config['seed']}")
            study.set_user_attr("settings", settings)
            study.set_user_attr("seeds", seeds)
            break
        known = study.user_attrs["settings"]
        changed = [key for key in {**known, **settings} if known.get(key) != settings.get(key)]
        if not changed:
            break
        lines = [f"{key} is {known.get(key)}, but {settings.get(key)} in this command" for key in changed[:5]]
        problem = f"The study {study.study_name} was started with other settings: {'; '.join(lines)}."
        if is_named:
            path = study_path(outputs, name)
            raise KronaError(f"{problem} Its file is {path}. Use --study=ANOTHER_NAME to start a new study.")
        notes = [problem]
    return study, notes


def _load_study(outputs: Path, name: str) -> Any:
    optuna, path = import_optuna(), study_path(outputs, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return optuna.create_study(
            study_name=name,
            storage=open_storage(path),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
            direction="maximize",
            load_if_exists=True,
        )
    except Exception as error:  # the file system, JSON and Optuna raise different exception types
        raise KronaError(
            f"The study {path} cannot be opened ({first_line(error)}). To start a new study, move the file to "
            "another folder or use --study=ANOTHER_NAME. KRONA_OUTPUTS=FOLDER chooses another folder."
        ) from error


def next_trial(search: Search, trials: int) -> Any:
    """Return an unfinished trial whose process has died, otherwise a new trial.

    Return None if the study has enough trials, or if a search in steps has tried all neighbours of the best values.
    """
    optuna = import_optuna()
    known = search.study.get_trials(deepcopy=False)
    for trial in known:
        if trial.state == optuna.trial.TrialState.RUNNING and not _is_alive(trial, search.outputs):
            return optuna.trial.Trial(search.study, trial._trial_id)
    if len(known) >= trials:
        return None
    attributes: dict[str, Any] = {}
    if has_factor(search.axes):
        steps = {axis.key: axis.steps for axis in search.axes if axis.steps}
        point = next_point(
            steps, [(trial.system_attrs.get("fixed_params", trial.params), trial.value) for trial in known]
        )
        if point is None:
            return None
        attributes["fixed_params"] = point
    process = this_process(uuid.uuid4().hex)
    # One record in the journal contains the trial and its process, so a kill leaves no trial without a process.
    search.study.add_trial(
        optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, user_attrs={PROCESS: process}, system_attrs=attributes
        )
    )
    (added,) = (trial for trial in search.study.get_trials(deepcopy=False) if trial.user_attrs.get(PROCESS) == process)
    return optuna.trial.Trial(search.study, added._trial_id)


def _is_alive(trial: "FrozenTrial", outputs: Path) -> bool:
    """Return whether a process works on a trial's run, or is about to start it.

    If two processes resume the same trial by mistake, the run's claim lets only one of them continue.
    """
    run = RunFolder(outputs / trial.user_attrs.get("run_id", "unknown"))
    if is_dead(trial.user_attrs.get(PROCESS, {})):
        return run.is_owned()  # another process may have resumed the trial
    started = trial.datetime_start
    is_young = started is not None and 0 <= time.time() - started.timestamp() < LAPSE_S
    return run.is_owned() or (is_young and not run.result.exists())


def run_trial(search: Search, trial: "Trial", *, runs_left: int = 0) -> None:
    """Run one trial, and report its score to the study. ``runs_left`` is that of the `Plan`."""
    from optuna.trial import TrialState

    trial.set_user_attr(PROCESS, this_process(uuid.uuid4().hex))
    values = search.suggest(trial)
    trial.set_user_attr("overrides", values)
    search.report(trial, " ".join(values))
    reported, pruned = {*trial.storage.get_trial(trial._trial_id).intermediate_values}, False

    def report(learner: "Learner") -> None:
        best = accumulate((row["choice"] for row in learner.dev_curve), max)
        for step, value in enumerate(best, 1):  # a process that was killed may not have reported its last epoch
            if step not in reported:
                trial.report(value, step=step)
                reported.add(step)
        stop_if_pruned(learner.global_step, learner.steps.total)

    def stop_if_pruned(step: int, steps: int) -> None:
        nonlocal pruned
        is_finished = step >= steps  # only the test scores are missing
        if not is_finished and trial.should_prune():
            pruned = True
            raise Interrupted

    try:
        scores = []
        for number, seed in enumerate(search.seeds):
            plan = _plan(search, values, seed)
            trial.set_user_attr("run_id", plan.run_id)
            if number == 0:  # a trial is pruned by its first seed
                plan = replace(
                    plan,
                    shows_notes=trial.number == 0,
                    runs_left=runs_left,
                    varied={key: value for key, _, value in (item.partition("=") for item in values)},
                    after_epoch=report,
                )
                earlier = plan.run_folder.state(ignore_claim=True).result
                if earlier is not None and earlier.progress:  # the process was killed before it could stop the trial
                    stop_if_pruned(earlier.progress["step"], earlier.progress["steps"])
            job = run_job(plan, search.console)
            if job.state == "running":  # the next process that asks for a trial takes the score from the run
                search.report(trial, "another process runs these values")
                return
            scores.append(_score(job))
    except Interrupted as stop:
        if not pruned or stop.args:  # a signal stopped the trial, which the next command resumes
            raise
        search.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
        search.report(trial, "pruned")
    except KronaError as error:
        _record_failure(search, trial, str(error))
    else:
        score = fmean(scores)
        search.study.tell(trial, score, skip_if_finished=True)
        best = search.study.best_trial
        search.report(trial, f"dev {score:.2f}; best {best.value:.2f} (trial {best.number})")


def _plan(search: Search, values: Sequence[str], seed: int) -> Plan:
    """Return the plan of the run with a trial's values and a seed."""
    run = compose_run(["score_test=false", *search.typed, *values, f"sweep={search.name}", f"seed={seed}"])
    return plan_run(run, search.outputs)


def _score(job: RunState) -> float:
    """Return the dev score of a finished run.

    Raises:
        KronaError: the run is not finished.
    """
    if job.result is None or job.result.dev is None or job.state not in ("done", "done already"):
        raise KronaError(job.error or job.state)
    return float(job.result.dev["choice"])


def _record_failure(search: Search, trial: "Trial", error: str) -> None:
    """Report a failed trial to the study. If all of the first trials have failed, raise `KronaError`."""
    from optuna.trial import TrialState

    trial.set_user_attr("error", error)
    search.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
    search.report(trial, f"failed: {error}")
    states = [recorded.state for recorded in search.study.get_trials(deepcopy=False)]
    if len(states) >= MAX_FIRST_FAILURES and set(states) == {TrialState.FAIL}:
        raise KronaError(f"The first {len(states)} trials all failed: {error}")


def list_runs(typed: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each run that ``train.py -m`` would start with these arguments.

    Raises:
        KronaError: the arguments are invalid, or contain recipe=tuned.
    """
    runs = expand_command(typed)
    if any(tuned_studies(run) is not None for run in runs):
        raise KronaError("A search cannot use recipe=tuned, which is the result of a search. Remove recipe=tuned.")
    return runs


def compose_run(overrides: Sequence[str]) -> Composed:
    """Compose the config of one run.

    Raises:
        KronaError: an override is invalid.
    """
    with hydra_session():
        return compose_job(overrides)


def study_names(runs: Sequence[Sequence[str]], study: str | None = None) -> list[str]:
    """Return the name of each run's study: the default name, followed by the name of the run's variant.

    With ``study``, the study of a single run has this name, and the names of several studies begin with it.

    Raises:
        KronaError: two names are equal.
    """
    if study is not None and len(runs) == 1:
        return [study]
    with hydra_session():
        configs = [compose_job(run).config for run in runs]
    variants = [[item.rpartition("/")[2] for item in run if item.startswith("variant=")] for run in runs]
    start = [study] if study is not None else []
    names = [
        "-".join([*start, default_study_name(config), *own]) for config, own in zip(configs, variants, strict=True)
    ]
    if len({*names}) < len(names):
        raise KronaError(
            f"Two of the studies have the same name: {', '.join(names)}. Use one command with --study=NAME for each."
        )
    return names


def tune_here(
    overrides: Sequence[str],
    *,
    trials: int,
    space: Path | None,
    study: str | None,
    seed: int,
    seeds: int = 1,
    refine: int = 0,
) -> None:
    """Search, and print the best trial and the command that trains with its values and other seeds.

    If ``space`` or ``study`` is None, use the default search space or study name.
    """
    if study is not None:
        study_path(OUTPUTS, study)  # raises KronaError for an invalid name
    end_with_parent()
    console = Console(soft_wrap=True)
    space = space or find_first(sweeps_folders(), "tune/default.yaml")
    runs = list_runs(overrides)
    names = study_names(runs, study)
    with exit_on_interrupt():
        names = [
            tune(
                run, trials=trials, outputs=OUTPUTS, space=space, console=console, name=name, seed=seed,
                is_named=study is not None, later_trials=trials * (len(runs) - number), seeds=seeds, refine=refine,
            )
            for number, (run, name) in enumerate(zip(runs, names, strict=True), 1)
        ]  # fmt: skip
    for name in names:
        result = read_study(study_path(OUTPUTS, name))
        best, running = result.require_best(), sum(trial.state == "running" for trial in result.trials)
        if running:
            say(console, f"Trials of this study that another process is still running: {running}")
        count = plural(len(result.trials) - running, "trial")
        say(console, f"{name}: best of {count}: dev {best.score:.2f} with {' '.join(best.overrides)}")
    first = result.choosing_seeds.stop
    others = [item for item in overrides if not item.startswith("seed=")]
    if len(names) == 1:
        say(console, f"  krona train {shlex.join([*others, *best.overrides, f'seed={first}'])}")
    else:
        fresh = ",".join(str(first + number) for number in range(3))
        say(console, f"next: krona train -m {shlex.join(others)} recipe=tuned seed={fresh}")
