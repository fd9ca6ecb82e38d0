"""Open and read the studies of `krona tune`. A study is a search for hyper-parameters with Optuna.

A study is a journal file, to which several processes and machines can write. Each trial is a run, so the claim of the
run shows whether the process of a trial is alive.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from krona.messages import KronaError, check_file_name, first_line, install_command

REFINED = "refined "  # the attribute of a study with a trial's mean dev score over fresh seeds; its number follows
STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


@dataclass(frozen=True)
class Trial:
    """One trial of a study."""

    number: int
    state: str  # finished, pruned, failed or running
    value: float | None  # the dev score; for an unfinished trial, the dev score of the last epoch
    params: Mapping[str, Any]
    run_id: str
    overrides: tuple[str, ...] = ()  # the trial's values as overrides of the command line, such as optimizer.lr=0.003
    refined: float | None = None  # the mean dev score over fresh seeds, which `krona tune --refine` measures

    @property
    def score(self) -> float | None:
        """The dev score that decides: over fresh seeds if there is one."""
        return self.value if self.refined is None else self.refined


@dataclass(frozen=True)
class Study:
    """A study with its trials in the order of their numbers."""

    name: str
    trials: Sequence[Trial]
    axes: Mapping[str, Any] = field(default_factory=dict)  # Optuna's distributions by searched key
    base: str = ""  # method, task, backbone and seed of the runs
    seeds: int = 1  # the number of runs of each trial

    @cached_property
    def best_trials(self) -> list[Trial]:
        """The finished trials in descending order of their dev scores. Of equal trials, the first is first."""
        done = [trial for trial in self.trials if trial.state == "finished" and trial.value is not None]
        return sorted(done, key=lambda trial: trial.value or 0.0, reverse=True)

    @cached_property
    def refined_trials(self) -> list[Trial]:
        """The trials with fresh seeds, or all finished trials if there are none, in descending order of the score."""
        refined = [trial for trial in self.best_trials if trial.refined is not None]
        return sorted(refined, key=lambda trial: trial.score or 0.0, reverse=True) or self.best_trials

    @property
    def choosing_seeds(self) -> range:
        """The seeds of all runs that chose the best trial. They must not test it."""
        first, rounds = int(self.base.rpartition(" ")[2] or 0), 2 if any(trial.refined for trial in self.trials) else 1
        return range(first, first + rounds * self.seeds)

    @property
    def best(self) -> Trial | None:
        """The best trial: by its score over fresh seeds if trials were refined, otherwise by its dev score."""
        return next(iter(self.refined_trials), None)

    def require_best(self) -> Trial:
        """Return the best trial.

        Raises:
            KronaError: no trial is finished.
        """
        if self.best is None:
            raise KronaError(f"The study {self.name} has no finished trial yet. Resume the study with krona tune.")
        return self.best


def study_path(outputs: Path, name: str) -> Path:
    """Return the path of a study's file.

    Raises:
        KronaError: the name is invalid.
    """
    check_file_name("--study", name, forbidden="/\\#?%:'\" ")
    return outputs / "studies" / f"{name}.journal"


def study_files(outputs: Path) -> dict[str, Path]:
    """Return the files of all studies by name."""
    return {path.stem: path for path in sorted((outputs / "studies").glob("*.journal"))}


def default_study_name(config: Mapping[str, Any]) -> str:
    """Return the default name of a study, such as ``krona-rte-t5-base`` with the backbone ``google-t5/t5-base``."""
    return "-".join(str(config[group]["name"]).rsplit("/", 1)[-1] for group in ("method", "task", "backbone"))


def import_optuna() -> Any:
    """Return the module ``optuna``, and let Optuna log only warnings.

    Raises:
        KronaError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise KronaError(f"A study needs Optuna, which is not installed. Run: {install_command('tune')}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def open_storage(path: Path) -> Any:
    """Return Optuna's storage for a study's journal."""
    storages = import_optuna().storages
    journal = storages.journal

    class Lock(journal.JournalFileOpenLock):  # type: ignore[misc, name-defined]
        """A lock that first removes an incomplete last line, which a killed process or a full disk can leave behind.

        Otherwise, Optuna would append to this line and could no longer read the file.
        """

        def acquire(self) -> bool:
            super().acquire()
            content = path.read_bytes() if path.is_file() else b""
            if content and not content.endswith(b"\n"):
                os.truncate(path, content.rfind(b"\n") + 1)
            return True

    return storages.JournalStorage(journal.JournalFileBackend(str(path), lock_obj=Lock(str(path))))


def read_studies(outputs: Path) -> list[Study | KronaError]:
    """Return all studies in ``outputs/studies``, sorted by name. An error replaces a study that cannot be read."""
    studies: list[Study | KronaError] = []
    for path in study_files(outputs).values():
        try:
            studies.append(read_study(path))
        except KronaError as error:
            studies.append(error)
    return studies


def read_study(path: Path) -> Study:
    """Read a study from its file.

    Raises:
        KronaError: the file cannot be read, or contains no study with the file's name.
    """
    optuna = import_optuna()
    try:
        study = optuna.load_study(study_name=path.stem, storage=open_storage(path))
    except Exception as error:  # JSON and Optuna raise different exception types
        raise KronaError(f"The study {path} cannot be read: {first_line(error)}") from error
    trials = study.get_trials(deepcopy=False)
    axes: dict[str, Any] = max((trial.distributions for trial in trials), key=len, default={})
    attributes = study.user_attrs
    read = [_read_trial(trial, attributes.get(f"{REFINED}{trial.number}")) for trial in trials]
    base, seeds = str(attributes.get("base", "")), int(attributes.get("seeds", 1))
    return Study(path.stem, read, axes, base, seeds)


def _read_trial(trial: Any, refined: float | None) -> Trial:
    reported = trial.intermediate_values
    value = trial.value if trial.value is not None else (reported[max(reported)] if reported else None)
    return Trial(
        number=trial.number,
        state=STATES.get(trial.state.name, trial.state.name.lower()),
        value=value,
        params=dict(trial.params),
        run_id=str(trial.user_attrs.get("run_id", "")),
        overrides=tuple(trial.user_attrs.get("overrides", ())),
        refined=refined,
    )
