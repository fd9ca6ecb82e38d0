"""A study in its SQLite file: opened or gone on with, its dead trials put back, its best found."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from krona.messages import KronaError, plain_name
from krona.outputs import claim

OPENING_S = 20.0  # how long several workers may take to make one new file


@dataclass(frozen=True)
class Best:
    """The best trial of a study."""

    study: str
    overrides: tuple[str, ...]  # as one types them: optimizer.lr=0.003
    score: float  # the dev score by which epochs are chosen
    run_id: str
    trials: int  # that count


def study_path(outputs: Path, name: str) -> Path:
    return outputs / "studies" / f"{name}.db"


def default_name(config: Mapping[str, Any]) -> str:
    """What a study is called that was given no name: method, task and backbone, of a path its last part."""
    return "-".join(str(config[group]["name"]).rsplit("/", 1)[-1] for group in ("method", "task", "backbone"))


def open_study(
    outputs: Path, name: str, *, space: str, base: str, settings: Mapping[str, str] | None = None, seed: int
) -> Any:
    """The study of this name, new or as it was left. One that searched another space or setting is an error.

    ``settings``: all that ``base`` stands for, by dotted key, so that the error can name what differs.
    """
    optuna = optuna_or_error()
    plain_name("--study", name, forbidden="/\\#?%:'\" ")
    path = study_path(outputs, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + OPENING_S
    while True:
        try:
            study = optuna.create_study(
                study_name=name,
                storage=storage_of(path),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
                direction="maximize",
                load_if_exists=True,
            )
            break
        except Exception as error:  # another worker is making the file's tables
            if time.monotonic() > until:
                raise KronaError(f"the study {path} can't be opened: {error}") from error
            time.sleep(0.2)
    # a process that goes on must not draw again what the one before it drew
    drawn = Random(f"{seed} {len(study.trials)}").getrandbits(32)
    study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=5)
    for key, value, what in (("space", space, "search space"), ("base", base, "setting")):
        known = study.user_attrs.get(key)
        if known is None:
            study.set_user_attr(key, value)
        elif known != value:
            own = study.user_attrs.get("settings", {}) if key == "base" else {}
            raise KronaError(
                f"the study {name} has another {what} ({path}): {_differences(own, settings or {}, known, value)}. "
                "--study=ANOTHER_NAME begins a new one"
            )
    if settings is not None and "settings" not in study.user_attrs:
        study.set_user_attr("settings", dict(settings))
    return study


def _differences(own: Mapping[str, str], typed: Mapping[str, str], known: str, value: str) -> str:
    """What a study has and what a command has: by key where the keys are known, as a whole otherwise."""
    keys = [key for key in {**own, **typed} if own.get(key) != typed.get(key)]
    if not own or not keys:
        return f"its own is {known}; this command's {value}"
    said = [f"{key} is {own.get(key, 'not set')}, this command's {typed.get(key, 'not set')}" for key in keys[:5]]
    return "; ".join(said) + (f" … and {len(keys) - 5} more" if len(keys) > 5 else "")


def best_of_study(name: str, *, outputs: Path) -> Best:
    """The best trial by its dev score, the earliest on ties.

    Raises:
        KronaError: there is no such study, or none of its trials has finished.
    """
    path = study_path(outputs, name)
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.db"))) or "none yet"
        raise KronaError(f"there is no study {name}; there are: {there}. krona tune makes one")
    study = stored_study(path)
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not done:
        raise KronaError(f"the study {name} has no finished trial yet: krona tune goes on with it")
    trial = max(done, key=lambda trial: (trial.value, -trial.number))
    return Best(
        study=name,
        overrides=tuple(trial.user_attrs["overrides"]),
        score=float(trial.value),
        run_id=str(trial.user_attrs["run_id"]),
        trials=len(counted(study)),
    )


def stored_study(path: Path) -> Any:
    """The study in an SQLite file, to be read. Raises KronaError where it holds none."""
    try:
        return optuna_or_error().load_study(study_name=path.stem, storage=storage_of(path))
    except KronaError as error:
        raise KronaError(f"{path}: {error}") from error
    except Exception as error:  # SQLite, SQLAlchemy and Optuna each have their own
        first = str(error).strip().split("\n")[0]
        raise KronaError(f"{path} holds no study that can be read: {first or type(error).__name__}") from error


def is_of(name: str, method: str, task: str, backbone: str, *, outputs: Path) -> bool:
    """Whether a study searches for this method on this task and backbone (`krona.tuning.tune.fingerprint`)."""
    study = stored_study(study_path(outputs, name))
    return str(study.user_attrs.get("base", "")).startswith(f"{method} {task} {backbone} seed ")


def counted(study: Any) -> list[Any]:
    """The trials that count towards --trials: all but those that were put back, came too late or are nobody's.

    A process that was killed as it asked for a trial has left one without a worker.
    """
    return [t for t in study.trials if "worker" in t.user_attrs and not t.user_attrs.get("void")]


def void(study: Any, number: int) -> bool:
    """Take a trial out of the count; false where another worker did."""
    optuna = optuna_or_error()
    storage, trial_id = study._storage, study.trials[number]._trial_id
    try:
        storage.set_trial_user_attr(trial_id, "void", True)
        study.tell(number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, RuntimeError, optuna.exceptions.OptunaError):
        return False
    return True


def put_back_dead(study: Any, outputs: Path) -> int:
    """Trials whose process has died are tried again with the same values: their runs go on where they stopped."""
    dead = [trial for trial in study.trials if trial.state.name == "RUNNING" and _dead(trial, outputs)]
    back = [trial for trial in dead if void(study, trial.number)]
    for trial in back:
        if trial.params:
            study.enqueue_trial(trial.params)
    return len(back)


def me() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _dead(trial: Any, outputs: Path) -> bool:
    """Whether nobody works on a trial any more."""
    worker: Mapping[str, Any] = trial.user_attrs.get("worker", {})
    age = (datetime.now() - trial.datetime_start).total_seconds() if trial.datetime_start else 0.0
    if worker.get("host") == socket.gethostname():
        return worker["pid"] == os.getpid() or not claim.alive(int(worker["pid"]))
    if age < claim.LAPSE_S:
        return False
    run_id = trial.user_attrs.get("run_id")
    return run_id is None or claim.owner(outputs / run_id) is None


def storage_of(path: Path) -> Any:
    """The SQLite file of a study."""
    optuna = optuna_or_error()
    patient = {"connect_args": {"timeout": 60}}  # several workers write one file
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs=patient)


def optuna_or_error() -> Any:
    """Optuna, said less loudly; the command that installs it where it is missing."""
    try:
        import optuna
    except ImportError as error:
        raise KronaError("tuning needs Optuna, which is not installed: pip install -e '.[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
