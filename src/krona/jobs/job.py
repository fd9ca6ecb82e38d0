"""What a job is, and what its run's folder says of it: done, failed before, another's, or to be run.

A run that is done is shown and not run again; one that was interrupted goes on; what is run is claimed first.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from krona import tasks
from krona.backbones import source
from krona.config import check
from krona.config.settings import Run
from krona.jobs.preflight import require
from krona.messages import KronaError
from krona.outputs import claim as ownership
from krona.outputs.provenance import code_version
from krona.outputs.result import Result, read_result
from krona.outputs.run_id import run_id
from krona.training.ranks import Ranks

FILES = (  # of a run's folder
    "last.ckpt",
    "adapter.safetensors",
    "predictions.jsonl",
    "metrics.csv",
    "tracked.jsonl",
    "result.json",
)
State = Literal["done", "skipped", "failed", "elsewhere"]


@dataclass
class Job:
    """What became of one job."""

    run_id: str
    state: State
    folder: Path
    result: Result | None = None
    error: str | None = None
    messages: list[str] = field(default_factory=list)
    overrides: tuple[str, ...] = ()  # of a multirun's job: its place on the axes


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a job is to do and where, as plain values; the rest follows from them."""

    config: Mapping[str, Any]
    notes: list[str]
    outputs: Path
    project: Path
    multirun: bool

    @cached_property
    def settings(self) -> Run:
        return check.settings(self.config)

    @cached_property
    def run_id(self) -> str:
        return identify(self.settings)

    @property
    def folder(self) -> Path:
        return self.outputs / self.run_id


def identify(settings: Run) -> str:
    """The run's id, from its config, its data's content and its backbone's."""
    data = settings.data
    return run_id(
        settings.config,
        data_fingerprint=tasks.data_fingerprint(
            settings.task, kind=data.kind, path=data.path, name=data.name, revision=data.revision
        ),
        backbone_fingerprint=source.fingerprint(settings.backbone),
    )


def done_notes(result: Result, project: Path) -> list[str]:
    """What to know of a run that is done: since when, and whether the code has changed since."""
    finished = str(result.provenance.get("finished", "?")).replace("T", " ").replace("+00:00", " UTC")
    notes = [f"done already ({finished}); overwrite=true runs it anew"]
    code, then = code_version(project)["git_code"], result.provenance.get("git_code")
    if code is not None and code != then:
        notes.append(f"the code has changed since: {str(then)[:8]} then, {code[:8]} now")
    return notes


@contextmanager
def claimed(given: Assignment, ranks: Ranks) -> Iterator[ownership.Claim | Job]:
    """The claim on a run's folder, the other ranks told to begin; or, where there is nothing to do, what is known."""
    claim, found = None, None
    try:
        try:
            found = known(given)
            if found is None:
                require(given.settings)
                claim = ownership.claim(given.folder)
                found = known(given) if claim is not None else _elsewhere(given)  # another may just have finished it
            if found is None:
                begin_afresh(given.settings, given.folder)
        finally:
            ranks.gather(claim is not None and found is None)
        if found is not None:
            yield found
        elif claim is not None:
            yield claim
    except OSError as error:
        raise KronaError(
            f"{given.folder}: {error.strerror or error}; the same command goes on when that is mended"
        ) from error
    finally:
        if claim is not None:
            claim.release()


def known(given: Assignment) -> Job | None:
    """What is known of a run from its folder, where that settles it: it is done, or it failed in an earlier sweep."""
    path, settings = given.folder / "result.json", given.settings
    if settings.overwrite or not path.is_file():
        return None
    try:
        earlier = read_result(path)
    except KronaError as error:
        raise KronaError(f"{error}. Take the file away, or overwrite=true runs it anew") from error
    if earlier.status == "done":
        return Job(given.run_id, "skipped", given.folder, earlier, messages=done_notes(earlier, given.project))
    if earlier.status == "failed" and given.multirun and settings.retry != "failed":
        return Job(given.run_id, "failed", given.folder, earlier, f"{earlier.error} (retry=failed tries again)")
    return None


def _elsewhere(given: Assignment) -> Job:
    holder = ownership.owner(given.folder) or {}
    where = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
    return Job(given.run_id, "elsewhere", given.folder, None, f"{given.run_id} is being run by {where}")


def begin_afresh(settings: Run, folder: Path) -> None:
    """Clear what a claimed folder has from before, its log too, unless the run goes on from it."""
    for name in FILES:
        for part in folder.glob(f".{name}.*"):  # half-written by a process that was killed
            part.unlink()
    path = folder / "result.json"
    goes_on = path.is_file() and not settings.overwrite and read_result(path).status in ("running", "interrupted")
    if not goes_on:
        for name in (*FILES, "train.log"):
            (folder / name).unlink(missing_ok=True)
