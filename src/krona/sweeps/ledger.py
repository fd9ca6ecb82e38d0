"""Hydra's callback around a multirun: a ledger of its jobs, and a table and an exit code at the end.

Each job writes a file, because jobs may run on other machines, and appending to one file is not safe on a network file
system.
"""

import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from rich.console import Console

from krona.config.compose import runs_folder
from krona.config.multirun import list_jobs, sweeper_params
from krona.files import remove_below, write_whole
from krona.jobs.job import Job
from krona.messages import KronaError, amount
from krona.runs import sweep
from krona.runs.folder import RunFolder
from krona.sweeps import closing_table, plan
from krona.sweeps.launchers.settings import LAUNCHER_KEYS, require
from krona.sweeps.progress import Progress

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
VARIABLE = "KRONA_LEDGER"  # the ledger's folder; inherited by the processes of the multirun
TOTAL = "total"  # in that folder: the number of jobs
LATEST = 20  # jobs whose time counts for those that are left
KEPT_S = 30 * 86400.0  # the ledger of an interrupted multirun


def note_job(job: Job, *, number: int, overrides: Sequence[str]) -> None:
    """Enter the outcome of a multirun's job; does nothing if there is no ledger."""
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


def _notes(folder: Path) -> list[dict[str, Any]]:
    """The jobs' notes, in their order."""
    paths = sorted(folder.glob("[0-9]*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def progress() -> Progress | None:
    """The progress of the multirun so far; None where its number of jobs is not known, as to another sweeper."""
    folder = _folder()
    if folder is None or not (folder / TOTAL).is_file():
        return None
    notes = _notes(folder)
    seconds = [float(note["seconds"]) for note in notes[-LATEST:] if note.get("seconds") is not None]
    total = int((folder / TOTAL).read_text(encoding="utf-8"))
    return Progress(total, started=len(notes), ended=len(notes), seconds=seconds)


def require_outputs() -> None:
    """End the multirun if its outputs folder is gone, as after an unmount."""
    folder = _folder()
    if folder is not None and not folder.is_dir():  # Hydra makes the folders above it anew
        raise SystemExit(_gone(folder.parent))  # an Exception would end one job only


def _gone(folder: Path) -> str:
    return (
        f"{folder} is gone since the sweep began (a shared folder that is no longer mounted?): it ends here, and the "
        "same command resumes it when the folder is back"
    )


def _folder() -> Path | None:
    path = os.environ.get(VARIABLE)
    return None if path is None else Path(path)


@contextmanager
def _ending() -> Iterator[None]:
    """Let a mistake end the multirun: Hydra turns an Exception into a warning."""
    try:
        yield
    except KronaError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        raise SystemExit(f"{error.filename}: {error.strerror or error}; a sweep needs a folder to write to") from error


class Ledger(Callback):
    """Opens the ledger before the first job and closes it after the last."""

    def __init__(self) -> None:
        self.before: dict[Path, str | None] = {}  # the files of a named sweep, before this command

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        overrides, name = list(config.hydra.overrides.task), config.sweep
        jobs: list[tuple[str, ...]] = []
        with _ending():  # what is refused leaves nothing behind
            folder = runs_folder(config.hydra, multirun=True) / "sweeps"
            require_launcher(config.hydra.launcher)
            if config.hydra.sweeper._target_ == BASIC_SWEEPER:
                jobs = list_jobs(sweeper_params(config), overrides)
            if name is not None:
                sweep.load_run_ids(folder.parent, name)
            folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"jobs-{'[0-9a-f]' * 8}"):  # by an interrupt, after which a cluster's jobs may continue
            if time.time() - left.lstat().st_mtime > KEPT_S:
                remove_below(folder.parent, left)
        notes = folder / f"jobs-{uuid.uuid4().hex[:8]}"
        notes.mkdir()
        if jobs:
            Console().print(amount(len(jobs), "run"), highlight=False)
            (notes / TOTAL).write_text(str(len(jobs)), encoding="utf-8")
        os.environ[VARIABLE] = str(notes)
        if name is not None:
            self.before = sweep.read_files(folder, name)
            with _ending():
                sweep.save_command(folder, name, overrides)
                sweep.save_run_ids(folder.parent, name, plan.made_before(jobs, name, outputs=folder.parent))

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        folder = Path(os.environ.pop(VARIABLE))
        if not folder.is_dir():
            raise SystemExit(_gone(folder.parent))
        jobs = [_job(note) for note in _notes(folder)]
        remove_below(folder.parents[1], folder)
        name = config.sweep or sweep.default_sweep_name(config.hydra.overrides.task)
        closing_table.show(jobs, Console(), sweep=name, named=config.sweep is not None)
        ids = [job.run_id for job in jobs if job.result is not None]
        with _ending():
            if ids:
                sweep.save_run_ids(folder.parents[1], name, ids)
            elif config.sweep is not None:  # all its runs were refused
                sweep.restore_files(self.before)
        if any(job.state == "failed" for job in jobs):
            raise SystemExit(1)


def require_launcher(launcher: Any) -> None:
    """Raise KronaError for a launcher of ours with settings that it can't have. ``launcher``: Hydra's node."""
    if "engine" in launcher:
        require(str(launcher.engine), {key: launcher[key] for key in LAUNCHER_KEYS if key in launcher})


def _job(note: dict[str, Any]) -> Job:
    folder = Path(note["folder"])
    known = {key: note[key] for key in ("run_id", "state", "error", "messages")}
    result = RunFolder(folder).state(owned=False)[1]
    return Job(**known, folder=folder, result=result, overrides=tuple(note["overrides"]))
