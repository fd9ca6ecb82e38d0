"""Record the outcomes of a multirun's jobs, print the closing table and set the exit code (a callback of Hydra)."""

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from rich.console import Console

from krona.config.compose import runs_folder
from krona.config.multirun import list_jobs, sweeper_params
from krona.formatting import say
from krona.messages import KronaError, amount, first_few
from krona.runs import sweep
from krona.runs.folder import RunFolder, RunState
from krona.safe_files import remove_below
from krona.sweeps import output, plan
from krona.sweeps.launchers.settings import require
from krona.sweeps.output import SweepProgress
from krona.training.jobs.job import Job

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
VARIABLE = "KRONA_LEDGER"  # the environment variable with the path of the marker, which child processes inherit
CALLBACK = "krona.sweeps.ledger.Ledger"  # in Hydra's multirun.yaml, if krona started the multirun
KEPT_S = 30 * 86400.0  # seconds for which the marker of an interrupted multirun is kept


def note_job(job: Job) -> None:
    """Record the outcome of a job, in the process that started the multirun."""
    if Ledger.jobs is not None:
        Ledger.jobs.append(job)


def undo_start(config: Any) -> None:
    """Remove the files that the start of a multirun wrote, unless jobs of the multirun have ended."""
    if Ledger.jobs == []:
        marker = Path(os.environ.pop(VARIABLE))
        _remove_temporary(marker, config)
        sweep.restore_files(Ledger.before)
        with suppress(OSError):  # the folder contains other files
            marker.parent.rmdir()


def require_outputs() -> None:
    """End the multirun if its outputs folder has disappeared, for example because a file system was unmounted."""
    if path := os.environ.get(VARIABLE):
        _require(Path(path))


class Ledger(Callback):
    """The Hydra callback that counts the jobs of a multirun and prints their outcomes after the last job.

    It creates a file, the marker, which shows later that the outputs folder is still the same.
    """

    jobs: ClassVar[list[Job] | None] = None  # the jobs that ended; None outside the process that started the multirun
    before: ClassVar[dict[Path, str | None]] = {}  # the content of a named sweep's files before this command

    def __init__(self) -> None:
        self.planned: set[str] = set()  # the run ids of a named sweep's command
        self.repeats = False  # whether the command starts only some of the runs that the sweep's files list

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        overrides, name = list(config.hydra.overrides.task), config.sweep
        jobs: list[tuple[str, ...]] = []
        with _errors_end_the_multirun():  # errors must be found before anything is written
            outputs = runs_folder(config.hydra, multirun=True)
            folder = outputs / "sweeps"
            _require_replaceable(_multirun_file(config))
            launcher = config.hydra.launcher
            if "engine" in launcher:
                require(str(launcher.engine), dict(launcher))
            if config.hydra.sweeper._target_ == BASIC_SWEEPER:
                jobs = list_jobs(sweeper_params(config), overrides)
            if name is not None:
                sweep.load_run_ids(outputs, name)
            folder.mkdir(parents=True, exist_ok=True)
            marker = folder / f"jobs-{uuid.uuid4().hex[:8]}"
            marker.touch()
        os.environ[VARIABLE] = str(marker)
        for old in folder.glob(f"jobs-{'[0-9a-f]' * 8}"):  # markers of interrupted multiruns
            if time.time() - old.lstat().st_mtime > KEPT_S:  # not earlier: its jobs may still run on a cluster
                remove_below(outputs, old)
        Ledger.jobs, Ledger.before, SweepProgress.current = [], {}, None
        if jobs:
            say(Console(), amount(len(jobs), "run"))
            SweepProgress.current = SweepProgress(len(jobs))
        with _errors_end_the_multirun():
            planned = plan.plan_jobs(jobs, outputs=outputs) if jobs else []
        wrong = [run for run in planned if run.state == "wrong"]
        if 0 < len(wrong) < len(planned):  # otherwise the first job shows the error at once
            say(Console(), f"  {amount(len(wrong), 'run')} will fail: {wrong[0].error}")
        for line in _find_equal_runs(jobs, planned):
            say(Console(), f"  note: {line}")
        if name is not None:
            Ledger.before = sweep.read_files(outputs, name)
            with _errors_end_the_multirun():
                self.planned = ids = {run.run_id for run in planned if run.state != "wrong"}
                self.repeats = bool(ids) and ids < sweep.load_run_ids(outputs, name)
                if not self.repeats:
                    sweep.save_command(outputs, name, overrides)
                    sweep.save_run_ids(outputs, name, ids)

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        marker = Path(os.environ.pop(VARIABLE))
        _require(marker)
        outputs = marker.parents[1]
        _remove_temporary(marker, config)
        jobs = [_add_result(job) for job in Ledger.jobs or []]
        name = config.sweep or sweep.default_sweep_name(config.hydra.overrides.task)
        output.show(jobs, Console(), sweep=name, named=config.sweep is not None)
        ids = [job.run_id for job in jobs if job.result is not None]
        with _errors_end_the_multirun():
            if not ids and not any((outputs / run_id).is_dir() for run_id in self.planned):  # all jobs were rejected
                sweep.restore_files(Ledger.before)
            elif ids and not self.repeats:
                sweep.save_run_ids(outputs, name, ids)
        with suppress(OSError):
            marker.parent.rmdir()  # no file of a sweep is in it
        if any(job.state == "failed" for job in jobs):
            raise SystemExit(1)


def _find_equal_runs(jobs: Sequence[tuple[str, ...]], planned: Sequence[RunState]) -> list[str]:
    """Return a note for each job with the run of an earlier job, such as two factor shapes that become the same."""
    first: dict[str, tuple[str, ...]] = {}
    notes = []
    for job, run in zip(jobs, planned, strict=True):
        earlier = first.setdefault(run.run_id, job)
        if run.state != "wrong" and (different := [item for item in job if item not in earlier]):
            other = " ".join(item for item in earlier if item not in job)
            notes.append(f"{' '.join(different)} is the same run as {other} on this backbone, and is not repeated.")
    return first_few(notes, output.MAX_LINES)


def _multirun_file(config: Any) -> Path:
    """Return the path of the file that Hydra's sweeper writes at the start of each multirun. Nothing reads it."""
    return Path(config.hydra.sweep.dir).absolute() / "multirun.yaml"


def _require_replaceable(file: Path) -> None:
    """Raise `KronaError` if the multirun would replace and then remove a file of the user."""
    if os.path.lexists(file) and CALLBACK not in file.read_text(encoding="utf-8", errors="replace"):
        raise KronaError(
            f"{file} exists, and Hydra would replace it. Rename the file, or use hydra.sweep.dir=ANOTHER_FOLDER."
        )


def _remove_temporary(marker: Path, config: Any) -> None:
    file = _multirun_file(config)
    remove_below(file.parents[1], file)
    remove_below(marker.parents[1], marker)


def _require(marker: Path) -> None:
    if not marker.exists():  # its folder may exist, because Hydra creates it again
        raise SystemExit(  # an Exception would end only one job
            f"The folder {marker.parent} has disappeared since the sweep began. Check whether a shared folder was "
            "unmounted. The sweep stops. When the folder is available again, run the same command to resume."
        )


def _add_result(job: Job) -> Job:
    """Add the result of a run that another process executes."""
    return job if job.result is not None else replace(job, result=RunFolder(job.folder).state(ignore_claim=True).result)


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
