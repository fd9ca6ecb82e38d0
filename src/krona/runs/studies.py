"""Read studies of `krona tune` as plain values, for the report and recipe=tuned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.runs.study import counted, optuna_or_error, storage_of, study_files

Choice = float | int | str | bool

STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


@dataclass(frozen=True)
class Axis:
    """One key of the command line: a range of numbers, or choices."""

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Choice, ...] = ()
    needs: str = ""  # the key that a config must have for this axis to mean something
    also: str = ""  # an override that goes with each value

    def suggest(self, trial: Any) -> None:
        """Let the study choose this axis' value in a trial; one that was put back keeps its own."""
        if self.choices:
            trial.suggest_categorical(self.key, self.choices)
        else:
            trial.suggest_float(self.key, self.low, self.high, log=self.log)

    def words(self) -> str:
        """Return the axis as text. Studies with equal text searched the same values."""
        if self.choices:
            return f"{self.key} {'|'.join(map(str, self.choices))}"
        return f"{self.key} {self.low!r}…{self.high!r}{' log' if self.log else ''}"


@dataclass(frozen=True)
class Trial:
    """One trial. ``value``: its dev score; of a pruned trial the last reported one."""

    number: int
    state: str  # finished | pruned | failed | running
    value: float | None
    params: Mapping[str, Any]
    epochs: int  # that were reported
    run_id: str
    error: str | None = None
    overrides: tuple[str, ...] = ()  # for the command line: optimizer.lr=0.003


@dataclass(frozen=True)
class Study:
    """A study's trials that count, in their order."""

    name: str
    trials: Sequence[Trial]
    axes: Sequence[Axis] = ()
    importances: Mapping[str, float] = field(default_factory=dict)  # shares of 1; empty with too few trials
    base: str = ""  # `krona.sweeps.tune.fingerprint`: method, task, backbone, seed, a hash

    @cached_property
    def best(self) -> Trial | None:
        """Return the finished trial with the highest dev score, the earliest on ties."""
        done = [trial for trial in self.trials if trial.state == "finished" and trial.value is not None]
        return max(done, key=lambda trial: (trial.value, -trial.number), default=None)


def read_studies(outputs: Path) -> list[Study | KronaError]:
    """Return every study under ``outputs/studies`` by name, or the error if it can't be read."""
    found: list[Study | KronaError] = []
    for _, path in sorted(study_files(outputs).items()):
        try:
            found.append(read_study(path))
        except KronaError as error:
            found.append(error)
    return found


def no_best(study: Study) -> KronaError:
    return KronaError(f"the study {study.name} has no finished trial yet: krona tune resumes it")


def read_study(path: Path) -> Study:
    """Return the study in a file. Raise `KronaError` if there is none."""
    try:
        study = optuna_or_error().load_study(study_name=path.stem, storage=storage_of(path))
    except KronaError as error:
        raise KronaError(f"{path}: {error}") from error
    except Exception as error:  # JSON, SQLAlchemy and Optuna each have their own
        first = str(error).strip().split("\n")[0]
        raise KronaError(f"{path} holds no study that can be read: {first or type(error).__name__}") from error
    trials = counted(study)
    axes = [_axis(key, kind) for key, kind in max((t.distributions for t in trials), key=len, default={}).items()]
    base = str(study.user_attrs.get("base", ""))
    return Study(path.stem, [_trial(trial) for trial in trials], axes, _importances(study), base)


def _trial(trial: Any) -> Trial:
    heard = trial.intermediate_values
    value = trial.value if trial.value is not None else (heard[max(heard)] if heard else None)
    return Trial(
        number=trial.number,
        state=STATES.get(trial.state.name, trial.state.name.lower()),
        value=None if value is None else float(value),
        params=dict(trial.params),
        epochs=len(heard),
        run_id=str(trial.user_attrs.get("run_id", "")),
        error=trial.user_attrs.get("error"),
        overrides=tuple(trial.user_attrs.get("overrides", ())),
    )


def _axis(key: str, kind: Any) -> Axis:
    if hasattr(kind, "choices"):
        return Axis(key, choices=tuple(str(choice) for choice in kind.choices))
    return Axis(key, low=float(kind.low), high=float(kind.high), log=bool(kind.log))


def _importances(study: Any) -> dict[str, float]:
    """Return each axis's share of the spread of dev scores; empty for too few finished trials."""
    optuna = optuna_or_error()
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if len(done) < 4 or len({trial.value for trial in done}) < 2:
        return {}
    try:
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(evaluate_on_local=False)
        )
    except (ValueError, RuntimeError, ImportError):
        return {}
    return {key: float(share) for key, share in found.items()}
