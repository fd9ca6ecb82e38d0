"""Record the outcomes of a multirun's jobs, print the closing table and set the exit code (a callback of Hydra).

The ledger is a folder. Each job writes its outcome to a separate file in it, because jobs can run on other machines,
and appending to a common file is not safe on a network file system.
"""

import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from rich.console import Console

from krona.config.compose import runs_folder
from krona.config.multirun import list_jobs, sweeper_params
from krona.jobs.job import Job
from krona.messages import KronaError, amount
from krona.runs import sweep
from krona.runs.folder import RunFolder
from krona.safe_files import remove_below, write_whole
from krona.sweeps import closing_table, plan
from krona.sweeps.launchers.settings import require
from krona.sweeps.progress import SweepProgress

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
VARIABLE = "KRONA_LEDGER"  # the environment variable with the path of the ledger, which child processes inherit
TOTAL = "total"  # the file in the ledger with the number of jobs
RECENT = 20  # the remaining time is estimated from the times of this number of latest jobs
KEPT_S = 30 * 86400.0  # seconds for which the ledger of an interrupted multirun is kept


def note_job(job: Job, *, number: int, overrides: Sequence[str]) -> None:
    """Write the outcome of a job to the ledger. Do nothing if this process does not belong to a multirun."""
    folder = _folder()
    if folder is None or not folder.is_dir():
        return
    note = {
        "number": number,
        "overrides": list(overrides),
        "run_id": job.run_id,
        "state": job.state,
        "error": job.error,
        "messages": job.messages,
        "seconds": job.result.times.get("total") if job.state == "done" and job.result is not None else None,
        "folder": str(job.folder),
    }
    write_whole(folder / f"{number}.json", lambda part: part.write_text(json.dumps(note), encoding="utf-8"))


def progress() -> SweepProgress | None:
    """Return the progress of the multirun, or None if its number of jobs is unknown (without the basic sweeper)."""
    folder = _folder()
    if folder is None or not (folder / TOTAL).is_file():
        return None
    paths = _find_notes(folder)
    notes = _read_notes(paths[-RECENT:])
    seconds = [float(note["seconds"]) for note in notes if note.get("seconds") is not None]
    total = int((folder / TOTAL).read_text(encoding="utf-8"))
    return SweepProgress(total, started=len(paths), ended=len(paths), seconds=seconds)


def require_outputs() -> None:
    """End the multirun if its outputs folder has disappeared, for example because a file system was unmounted."""
    folder = _folder()
    if folder is not None and not folder.is_dir():  # the parent folders may exist, because Hydra creates them again
        raise SystemExit(_gone(folder.parent))  # an Exception would end only one job


class Ledger(Callback):
    """The Hydra callback that creates the ledger before the first job and removes it after the last."""

    def __init__(self) -> None:
        self.before: dict[Path, str | None] = {}  # the content of a named sweep's files before this command

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        overrides, name = list(config.hydra.overrides.task), config.sweep
        jobs: list[tuple[str, ...]] = []
        with _errors_end_the_multirun():  # errors must be found before anything is written
            folder = runs_folder(config.hydra, multirun=True) / "sweeps"
            launcher = config.hydra.launcher
            if "engine" in launcher:
                require(str(launcher.engine), dict(launcher))
            if config.hydra.sweeper._target_ == BASIC_SWEEPER:
                jobs = list_jobs(sweeper_params(config), overrides)
            if name is not None:
                sweep.load_run_ids(folder.parent, name)
            folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"jobs-{'[0-9a-f]' * 8}"):  # ledgers of interrupted multiruns
            if time.time() - old.lstat().st_mtime > KEPT_S:  # not earlier: its jobs may still run on a cluster
                remove_below(folder.parent, old)
        notes = folder / f"jobs-{uuid.uuid4().hex[:8]}"
        notes.mkdir()
        if jobs:
            Console().print(amount(len(jobs), "run"), highlight=False)
            (notes / TOTAL).write_text(str(len(jobs)), encoding="utf-8")
        os.environ[VARIABLE] = str(notes)
        if name is not None:
            self.before = sweep.read_files(folder, name)
            with _errors_end_the_multirun():
                sweep.save_command(folder, name, overrides)
                sweep.save_run_ids(folder.parent, name, plan.run_ids(jobs))

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        folder = Path(os.environ.pop(VARIABLE))
        if not folder.is_dir():
            raise SystemExit(_gone(folder.parent))
        jobs = [_build_job(note) for note in _read_notes(_find_notes(folder))]
        remove_below(folder.parents[1], folder)
        written = Path(config.hydra.sweep.dir).absolute()
        remove_below(written.parent, written / "multirun.yaml")  # of Hydra's sweeper; nothing reads it
        name = config.sweep or sweep.default_sweep_name(config.hydra.overrides.task)
        closing_table.show(jobs, Console(), sweep=name, named=config.sweep is not None)
        ids = [job.run_id for job in jobs if job.result is not None]
        with _errors_end_the_multirun():
            if ids:
                sweep.save_run_ids(folder.parents[1], name, ids)
            elif config.sweep is not None:  # no job has a result, because all were rejected
                sweep.restore_files(self.before)
        with suppress(OSError):
            folder.parent.rmdir()  # no file of a sweep is in it
        if any(job.state == "failed" for job in jobs):
            raise SystemExit(1)


def _folder() -> Path | None:
    path = os.environ.get(VARIABLE)
    return None if path is None else Path(path)


def _find_notes(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.json"), key=lambda path: int(path.stem))


def _read_notes(paths: Sequence[Path]) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def _build_job(note: dict[str, Any]) -> Job:
    folder = Path(note["folder"])
    known = {key: note[key] for key in ("run_id", "state", "error", "messages")}
    result = RunFolder(folder).state(owned=False)[1]
    return Job(**known, folder=folder, result=result, overrides=tuple(note["overrides"]))


def _gone(folder: Path) -> str:
    return (
        f"The folder {folder} has disappeared since the sweep began. Check whether a shared folder was unmounted. The "
        "sweep stops. When the folder is available again, run the same command to resume."
    )


@contextmanager
def _errors_end_the_multirun() -> Iterator[None]:
    """Raise SystemExit instead of `KronaError` or OSError, because Hydra turns an Exception into a warning."""
    try:
        yield
    except KronaError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        raise SystemExit(
            f"{error.filename} can't be used: {error.strerror or error}. A sweep needs a writable folder."
        ) from error
