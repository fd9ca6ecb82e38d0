"""A job: its specification, its outcome, and the claim on its run's folder.

A finished run is shown and not run again; an interrupted one resumes. A run is claimed before it starts.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from krona import tasks
from krona.adapters import start
from krona.backbones import source
from krona.config import check
from krona.config.settings import Run
from krona.files import Write, write_whole
from krona.jobs.preflight import require
from krona.messages import KronaError
from krona.runs import claim
from krona.runs.folder import RunFolder
from krona.runs.provenance import code_version
from krona.runs.result import Result
from krona.runs.run_id import run_id
from krona.training.ranks import Ranks

Outcome = Literal["done", "skipped", "failed", "claimed_by_other"]
WORDS: dict[Outcome, str] = {  # on the screen
    "done": "done",
    "skipped": "done already",
    "failed": "failed",
    "claimed_by_other": "running elsewhere",
}


@dataclass
class Job:
    """The outcome of a job."""

    run_id: str
    state: Outcome
    folder: Path
    result: Result | None = None
    error: str | None = None
    messages: list[str] = field(default_factory=list)
    overrides: tuple[str, ...] = ()  # of a multirun's job: its values on the sweep's axes


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A job's config, composed from the user's own command, and its places, as plain values."""

    config: Mapping[str, Any]
    notes: list[str]
    outputs: Path
    project: Path
    multirun: bool
    position: str = ""  # in a multirun: 3/12
    record: Mapping[str, str] = field(default_factory=dict)  # the files of the run's .hydra/

    @cached_property
    def settings(self) -> Run:
        return check.settings(self.config, own=True)

    @cached_property
    def run_id(self) -> str:
        return identify(self.settings)

    @property
    def folder(self) -> Path:
        return self.outputs / self.run_id

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.folder)

    def write_record(self, write: Write = write_whole) -> None:
        """Write ``.hydra/``; a resumed run keeps what it began with."""
        for name, text in self.record.items():
            if not (file := self.run.record / name).exists():
                file.parent.mkdir(exist_ok=True)
                write(file, partial(Path.write_text, data=text, encoding="utf-8"))


def identify(settings: Run) -> str:
    """The run's id, from its config and the content of its data, its backbone and its start."""
    data, config = settings.data, dict(settings.config)
    if settings.init_from is not None:
        config["init_from"] = start.fingerprint(settings.init_from)
    return run_id(
        config,
        data_fingerprint=tasks.data_fingerprint(
            settings.task, kind=data.kind, path=data.path, name=data.name, revision=data.revision
        ),
        backbone_fingerprint=source.fingerprint(settings.backbone),
    )


@contextmanager
def claimed(spec: JobSpec, ranks: Ranks) -> Iterator[claim.Claim | Job]:
    """The claim on a run's folder, or the outcome if nothing is to run. Tells the other ranks whether to start."""
    held, outcome = None, None
    try:
        try:
            outcome = known_outcome(spec)
            if outcome is not None and outcome.state == "skipped":
                with suppress(KronaError, OSError):  # a folder that can't be written to is left as it is
                    spec.run.clean(done=True)
            if outcome is None:
                require(spec.settings)
                held = spec.run.claim()
                outcome = _claimed_by_other(spec) if held is None else known_outcome(spec)  # it may just have finished
            if held is not None and outcome is None:
                _prepare(spec, held)
        finally:
            ranks.gather(held is not None and outcome is None)
        if outcome is not None:
            yield outcome
        elif held is not None:
            yield held
    except OSError as error:
        raise KronaError(
            f"{spec.folder}: {error.strerror or error}; once that is fixed, the same command resumes the run"
        ) from error
    finally:
        if held is not None:
            held.release()


def known_outcome(spec: JobSpec) -> Job | None:
    """The outcome that the run's folder already has: it is done, or it failed in an earlier sweep."""
    if spec.settings.overwrite:
        return None
    state, result, error = spec.run.state(owned=False)
    if state == "failed" and result is None:
        raise KronaError(f"{error}. Remove the file, or overwrite=true runs it anew")
    if state == "done" and result is not None:
        return Job(spec.run_id, "skipped", spec.folder, result, messages=_done_messages(result, spec))
    if state == "failed" and spec.multirun and spec.settings.retry != "failed":
        return Job(spec.run_id, "failed", spec.folder, result, f"{error} (retry=failed tries again)")
    return None


def _done_messages(result: Result, spec: JobSpec) -> list[str]:
    finished = str(result.provenance.get("finished", "?")).replace("T", " ").replace("+00:00", " UTC")
    messages = [f"done already ({finished}); overwrite=true runs it anew"]
    messages += spec.run.damages(result)
    code, then = code_version(spec.project)["git_code"], result.provenance.get("git_code")
    if code is not None and code != then:
        messages.append(f"the code has changed since: {str(then)[:8]} then, {code[:8]} now")
    return messages


def _claimed_by_other(spec: JobSpec) -> Job:
    error = f"{spec.run_id} is being run by {claim.describe(spec.run.owner() or {})}"
    return Job(spec.run_id, "claimed_by_other", spec.folder, error=error)


def _prepare(spec: JobSpec, held: claim.Claim) -> None:
    """Remove a claimed run's earlier files unless the run resumes from them. Set a damaged checkpoint aside."""
    run = spec.run
    if spec.settings.overwrite or run.state(owned=False)[0] != "interrupted":
        run.begin_anew(held)
    if not run.checkpoint.is_file():
        return
    from krona.training.files import damage_of  # Lightning: not before something runs

    if (damage := damage_of(run.checkpoint)) is not None:
        aside = held.set_aside(run.checkpoint)
        spec.notes.append(
            f"{run.checkpoint.name} is damaged ({damage}) and set aside as {aside.name}: the run begins anew"
        )
