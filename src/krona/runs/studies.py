"""Read the hyper-parameter searches of `krona tune` (studies). The report and ``recipe=tuned`` use them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from krona.messages import KronaError, first_line
from krona.runs.tune_study import counted_trials, import_optuna, open_storage, study_files

Choice = float | int | str | bool
STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


@dataclass(frozen=True)
class Axis:
    """A searched key of the command line, with its range of numbers or its list of choices."""

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Choice, ...] = ()
    needs: str = ""  # the axis is used if the config has this key (if empty: ``key``)
    also: str = ""  # an override that is added to the command line with each value

    def suggest(self, trial: Any) -> None:
        """Let the study choose the value of this axis in a trial. A repeated trial keeps its value."""
        if self.choices:
            trial.suggest_categorical(self.key, self.choices)
        else:
            trial.suggest_float(self.key, self.low, self.high, log=self.log)

    def words(self) -> str:
        """Return the axis as text. Two axes with the same text have the same values."""
        if self.choices:
            return f"{self.key} {'|'.join(map(str, self.choices))}"
        return f"{self.key} {self.low!r}…{self.high!r}{' log' if self.log else ''}"


@dataclass(frozen=True)
class Trial:
    """One trial of a study."""

    number: int
    state: str  # finished, pruned, failed or running
    value: float | None  # the dev score; for an unfinished trial, that of its last epoch
    params: Mapping[str, Any]
    run_id: str
    overrides: tuple[str, ...] = ()  # the trial's values as overrides of the command line, such as optimizer.lr=0.003


@dataclass(frozen=True)
class Study:
    """A study, with the trials that count towards ``--trials``, in the order of their numbers."""

    name: str
    trials: Sequence[Trial]
    axes: Sequence[Axis] = ()
    # Each searched key's share of the variance of the score. It is empty if there are fewer than four finished trials.
    importances: Mapping[str, float] = field(default_factory=dict)
    base: str = ""  # method, task, backbone, seed and a hash, from `krona.sweeps.tune_space.fingerprint`

    @cached_property
    def best(self) -> Trial | None:
        """The finished trial with the highest dev score (the first of equal trials), or None."""
        done = [trial for trial in self.trials if trial.state == "finished" and trial.value is not None]
        return max(done, key=lambda trial: (trial.value, -trial.number), default=None)

    def require_best(self) -> Trial:
        """Return the best trial. Raise `KronaError` if no trial is finished."""
        if self.best is None:
            raise KronaError(f"The study {self.name} has no finished trial yet. Resume the study with krona tune.")
        return self.best


def read_studies(outputs: Path) -> list[Study | KronaError]:
    """Return all studies in ``outputs/studies``, sorted by name, or an error for a study that can't be read."""
    found: list[Study | KronaError] = []
    for path in study_files(outputs).values():
        try:
            found.append(read_study(path))
        except KronaError as error:
            found.append(error)
    return found


def read_study(path: Path) -> Study:
    """Return the study in a file. Raise `KronaError` if the file can't be read or has no study with the file's name."""
    try:
        study = import_optuna().load_study(study_name=path.stem, storage=open_storage(path))
    except KronaError as error:
        raise KronaError(f"{path}: {error}") from error
    except Exception as error:  # JSON and Optuna raise different classes
        raise KronaError(f"The study {path} can't be read: {first_line(error)}") from error
    trials = counted_trials(study)
    distributions: dict[str, Any] = max((trial.distributions for trial in trials), key=len, default={})
    axes = [_read_axis(key, distribution) for key, distribution in distributions.items()]
    base = str(study.user_attrs.get("base", ""))
    return Study(path.stem, [_read_trial(trial) for trial in trials], axes, _importances(study), base)


def _read_trial(trial: Any) -> Trial:
    reported = trial.intermediate_values
    value = trial.value if trial.value is not None else (reported[max(reported)] if reported else None)
    return Trial(
        number=trial.number,
        state=STATES.get(trial.state.name, trial.state.name.lower()),
        value=None if value is None else float(value),
        params=dict(trial.params),
        run_id=str(trial.user_attrs.get("run_id", "")),
        overrides=tuple(trial.user_attrs.get("overrides", ())),
    )


def _read_axis(key: str, distribution: Any) -> Axis:
    if hasattr(distribution, "choices"):
        return Axis(key, choices=tuple(str(choice) for choice in distribution.choices))
    return Axis(key, low=float(distribution.low), high=float(distribution.high), log=bool(distribution.log))


def _importances(study: Any) -> dict[str, float]:
    importance = import_optuna().importance
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if len(done) < 4 or len({trial.value for trial in done}) < 2:
        return {}
    evaluator = importance.PedAnovaImportanceEvaluator(evaluate_on_local=False)
    try:
        shares = importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError, ImportError):
        return {}
    return {key: float(share) for key, share in shares.items()}
