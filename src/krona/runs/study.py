"""A study of `krona tune` in its journal file: opened or resumed, trials counted, those of dead processes put back."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from krona.files import remove_below
from krona.messages import KronaError, file_name
from krona.runs import claim, holder

LOCK_S = 30  # a lock that is older was left by a process that was killed; one write takes milliseconds


def study_path(outputs: Path, name: str) -> Path:
    file_name("--study", name, forbidden="/\\#?%:'\" ")
    return outputs / "studies" / f"{name}.journal"


def study_files(outputs: Path) -> dict[str, Path]:
    """Return each study's file by its name. A ``NAME.db``, Optuna's SQLite storage, is read until it is resumed."""
    folder = outputs / "studies"
    return {path.stem: path for suffix in ("db", "journal") for path in sorted(folder.glob(f"*.{suffix}"))}


def default_name(config: Mapping[str, Any]) -> str:
    """Return the name of a study without a name: method, task and backbone, the last part of each path."""
    return "-".join(str(config[group]["name"]).rsplit("/", 1)[-1] for group in ("method", "task", "backbone"))


def open_study(
    outputs: Path, name: str, *, space: str, base: str, settings: Mapping[str, str] | None = None, seed: int
) -> Any:
    """Open or create the study of this name. Raise `KronaError` if it searched another space or setting.

    ``settings``: all that ``base`` stands for, by dotted key, so that the error can name what differs.
    """
    optuna = optuna_or_error()
    path = study_path(outputs, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KronaError(
            f"{path.parent} can't be written to: {error.strerror}; KRONA_OUTPUTS=FOLDER is another place"
        ) from error
    try:
        if path.with_suffix(".db").exists() and not path.exists():
            _copy_to_journal(path)
        study = optuna.create_study(
            study_name=name,
            storage=storage_of(path),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
            direction="maximize",
            load_if_exists=True,
        )
    except Exception as error:  # a disk, SQLAlchemy and Optuna each have their own
        there = next(filter(Path.is_file, (path, path.with_suffix(".db"))), path)
        raise KronaError(
            f"the study {there} can't be opened ({str(error).splitlines()[0]}): move it away, and the same command "
            "begins a new one; or --study=ANOTHER_NAME"
        ) from error
    # a resumed search must not draw again what the process before it drew
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
    """Return how a study and a command differ: by key if the keys are known, as a whole otherwise."""
    keys = [key for key in {**own, **typed} if own.get(key) != typed.get(key)]
    if not own or not keys:
        return f"its own is {known}; this command's {value}"
    said = [f"{key} is {own.get(key, 'not set')}, this command's {typed.get(key, 'not set')}" for key in keys[:5]]
    return "; ".join(said) + (f" … and {len(keys) - 5} more" if len(keys) > 5 else "")


def _copy_to_journal(path: Path) -> None:
    """Copy ``NAME.db`` to the journal once: of several workers the first does, and the others wait."""
    part = path.with_suffix(".part")
    with _locked(path):
        if not path.exists():
            part.unlink(missing_ok=True)
            optuna_or_error().copy_study(
                from_study_name=path.stem, from_storage=storage_of(path.with_suffix(".db")), to_storage=storage_of(part)
            )
            part.replace(path)


def counted(study: Any) -> list[Any]:
    """Return the trials that count towards --trials: all but those that were put back, came too late or have no worker.

    A process that was killed while it asked for a trial leaves one without a worker.
    """
    return [t for t in study.trials if "worker" in t.user_attrs and not t.user_attrs.get("void")]


def void(study: Any, number: int) -> bool:
    """Remove a trial from the count. Return false if another worker did."""
    optuna = optuna_or_error()
    storage, trial_id = study._storage, study.trials[number]._trial_id
    try:
        storage.set_trial_user_attr(trial_id, "void", True)
        study.tell(number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, RuntimeError, optuna.exceptions.OptunaError):
        return False
    return True


def put_back_dead(study: Any, outputs: Path) -> int:
    """Try the trials of dead processes again, so that their runs resume. Return how many there are."""
    dead = [trial for trial in study.trials if trial.state.name == "RUNNING" and _dead(trial, outputs)]
    back = [trial for trial in dead if void(study, trial.number)]
    for trial in back:
        if trial.params:
            study.enqueue_trial(trial.params)
    return len(back)


def me() -> dict[str, Any]:
    """Return this process, as a trial's attribute ``worker`` names it."""
    return holder.me()


def _dead(trial: Any, outputs: Path) -> bool:
    """Return whether no process works on a trial any more."""
    worker: Mapping[str, Any] = trial.user_attrs.get("worker", {})
    age = (datetime.now() - trial.datetime_start).total_seconds() if trial.datetime_start else 0.0
    if holder.here(worker):
        return worker["pid"] == os.getpid() or not holder.alive(int(worker["pid"]))
    if age < holder.LAPSE_S:
        return False
    run_id = trial.user_attrs.get("run_id")
    return run_id is None or claim.owner(outputs / run_id) is None


def remove_unused(study: Any, outputs: Path, name: str) -> None:
    """Remove a study's file if none of its trials has begun a run: the command was refused."""
    for trial in study.trials:
        run_id = trial.user_attrs.get("run_id")
        if trial.state.name != "FAIL" or (run_id is not None and (outputs / run_id).is_dir()):
            return
    path = study_path(outputs, name)
    remove_below(outputs, path)
    with suppress(OSError):  # other studies are in it
        path.parent.rmdir()


class MendingLock:
    """Optuna's lock file. Taking it removes a last line that a kill or a full disk cut short.

    Optuna alone would append to such a line, and could not read anything after it.
    """

    def __init__(self, path: Path) -> None:
        from optuna.storages.journal import JournalFileOpenLock

        self.path, self._lock = path, JournalFileOpenLock(str(path), grace_period=LOCK_S)

    def acquire(self) -> bool:
        self._lock.acquire()
        if self.path.is_file():
            with self.path.open("rb+") as file:
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":
                        file.truncate(self.path.read_bytes().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self._lock.release()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = MendingLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def storage_of(path: Path) -> Any:
    """Return a study's file as Optuna's storage: a journal, which machines can share, or a NAME.db of SQLite."""
    optuna = optuna_or_error()
    if path.suffix == ".db":
        return optuna.storages.RDBStorage(f"sqlite:///{path}")
    lock: Any = MendingLock(path)
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path), lock_obj=lock))


def optuna_or_error() -> Any:
    """Return Optuna with its log at warnings. Raise `KronaError` with the command that installs it."""
    try:
        import optuna
    except ImportError as error:
        raise KronaError("tuning needs Optuna, which is not installed: pip install -e '.[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
