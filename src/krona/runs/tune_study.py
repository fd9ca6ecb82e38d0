"""Open, resume and update a study of `krona tune`, and repeat the trials of dead processes.

A study is a hyper-parameter search with Optuna, and a trial is one run of it. The study's file is a journal, to which
several processes can write.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from krona.messages import KronaError, check_file_name, first_line
from krona.runs import claim, heartbeat, holder
from krona.safe_files import remove_below

LOCK_S = 30  # seconds; an older lock was left by a killed process, because one write takes milliseconds


def study_path(outputs: Path, name: str) -> Path:
    """Return the path of a study's file. Raise `KronaError` for an invalid name."""
    check_file_name("--study", name, forbidden="/\\#?%:'\" ")
    return outputs / "studies" / f"{name}.journal"


def study_files(outputs: Path) -> dict[str, Path]:
    """Return a dict from each study's name to its file, sorted by name."""
    return {path.stem: path for path in sorted((outputs / "studies").glob("*.journal"))}


def default_study_name(config: Mapping[str, Any]) -> str:
    """Return the default name of a study, such as ``krona-rte-t5-base`` with the backbone ``google-t5/t5-base``."""
    return "-".join(str(config[group]["name"]).rsplit("/", 1)[-1] for group in ("method", "task", "backbone"))


def open_study(
    outputs: Path, name: str, *, space: str, base: str, settings: Mapping[str, str] | None = None, seed: int
) -> Any:
    """Open or create a study, and return it as an Optuna study.

    Args:
        space: the search space as text.
        base: the fixed settings as text, with a hash.
        settings: the values of the fixed settings by dotted key. An error message names the settings that differ.
        seed: the seed of the sampler.

    Raises:
        KronaError: the study exists with another search space or other settings, or can't be opened.
    """
    optuna = import_optuna()
    path = study_path(outputs, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KronaError(
            f"{path.parent} can't be written to: {error.strerror}. Choose another folder with KRONA_OUTPUTS=FOLDER."
        ) from error
    try:
        study = optuna.create_study(
            study_name=name,
            storage=open_storage(path),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
            direction="maximize",
            load_if_exists=True,
        )
    except Exception as error:  # the file system, JSON and Optuna raise different classes
        raise KronaError(
            f"The study {path} can't be opened ({first_line(error)}). To start a new study, move the file to "
            "another folder or use --study=ANOTHER_NAME."
        ) from error
    # the seed depends on the number of trials, so that a resumed search does not draw the same values again
    drawn = Random(f"{seed} {len(study.trials)}").getrandbits(32)
    study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=5)
    _require_same(study, path, {"space": space, "base": base}, settings or {})
    return study


def _require_same(study: Any, path: Path, texts: Mapping[str, str], settings: Mapping[str, str]) -> None:
    """Record the search space and the settings in a new study. Raise `KronaError` if an old study differs in them."""
    known = study.user_attrs
    for key, text in texts.items():
        if key not in known:
            study.set_user_attr(key, text)
        elif known[key] != text:
            what, own = ("setting", known.get("settings", {})) if key == "base" else ("search space", {})
            raise KronaError(
                f"The study {path.stem} ({path}) was started with another {what}: "
                f"{_differences(own, settings, known[key], text)}. Use --study=ANOTHER_NAME to start a new study."
            )
    if settings and "settings" not in known:
        study.set_user_attr("settings", dict(settings))


def _differences(own: Mapping[str, str], given: Mapping[str, str], known: str, value: str) -> str:
    keys = [key for key in {**own, **given} if own.get(key) != given.get(key)]
    if not own or not keys:
        return f"the study has {known}, and this command has {value}"
    lines = [f"{key} is {own.get(key, 'not set')}, but {given.get(key, 'not set')} in this command" for key in keys[:5]]
    return "; ".join(lines) + (f" … and {len(keys) - 5} more" if len(keys) > 5 else "")


def counted_trials(study: Any) -> list[Any]:
    """Return the trials that count towards ``--trials``. These have a worker (a process) and were not discarded.

    A trial has no worker if the process was killed while Optuna was creating the trial.
    """
    return [t for t in study.trials if "worker" in t.user_attrs and not t.user_attrs.get("void")]


def discard_trial(study: Any, number: int) -> bool:
    """Mark a trial as failed and not counted. Return false if another process has already done this."""
    optuna = import_optuna()
    storage, trial_id = study._storage, study.trials[number]._trial_id
    try:
        storage.set_trial_user_attr(trial_id, "void", True)
        study.tell(number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, RuntimeError, optuna.exceptions.OptunaError):
        return False
    return True


def is_discarded(study: Any, number: int) -> bool:
    """Return whether a trial was discarded, perhaps by another process that treated its process as dead."""
    return bool(study.trials[number].user_attrs.get("void"))


def repeat_dead_trials(study: Any, outputs: Path) -> int:
    """Queue the trials of dead processes again, so that their runs resume. Return the number of these trials."""
    dead = [trial for trial in study.trials if trial.state.name == "RUNNING" and _is_dead(trial, outputs)]
    discarded = [trial for trial in dead if discard_trial(study, trial.number)]
    for trial in discarded:
        if trial.params:
            study.enqueue_trial(trial.params)
    return len(discarded)


def _is_dead(trial: Any, outputs: Path) -> bool:
    worker: Mapping[str, Any] = trial.user_attrs.get("worker", {})
    if holder.is_local(worker):
        return worker["pid"] == os.getpid() or not holder.is_alive(int(worker["pid"]))
    start = trial.datetime_start.timestamp() if trial.datetime_start else time.time()
    if time.time() - worker.get("asked", start) < heartbeat.LAPSE_S:  # `start` is in the other machine's time zone
        return False
    run_id = trial.user_attrs.get("run_id")
    return run_id is None or claim.owner(outputs / run_id) is None


def remove_unused(study: Any, outputs: Path, name: str) -> None:
    """Remove a study's file if none of its trials has started a run, after a command that failed."""
    for trial in study.trials:
        run_id = trial.user_attrs.get("run_id")
        if trial.state.name != "FAIL" or (run_id is not None and (outputs / run_id).is_dir()):
            return
    path = study_path(outputs, name)
    remove_below(outputs, path)
    with suppress(OSError):  # the folder contains other studies
        path.parent.rmdir()


class RepairingLock:
    """Optuna's lock on a journal file, with a repair of the journal.

    A killed process or a full disk can leave an incomplete last line. `acquire` removes this line, because Optuna would
    append to it and could not read the following lines.
    """

    def __init__(self, path: Path) -> None:
        from optuna.storages.journal import JournalFileOpenLock

        self.path, self._lock = path, JournalFileOpenLock(str(path), grace_period=LOCK_S)

    def acquire(self) -> bool:
        self._lock.acquire()
        if self.path.is_file():
            content = self.path.read_bytes()
            if content and not content.endswith(b"\n"):
                os.truncate(self.path, content.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self._lock.release()


def open_storage(path: Path) -> Any:
    """Return Optuna's storage for a study's journal."""
    optuna, lock = import_optuna(), RepairingLock(path)
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path), lock_obj=lock))


def import_optuna() -> Any:
    """Return the module ``optuna``, which logs only warnings. Raise `KronaError` if it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise KronaError("A study needs Optuna, which is not installed. Run: pip install -e '.[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
