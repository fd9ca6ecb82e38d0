"""A job: the specification of a run, its outcome, and the claim on its folder.

A finished run is shown and not run again; an interrupted one resumes. A run is claimed before it starts.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from krona import tasks
from krona.adapters.init_from import hash_source
from krona.backbones import source
from krona.config import check
from krona.config.settings import Run
from krona.files import Write, write_whole
from krona.jobs.preflight import require
from krona.messages import KronaError
from krona.paths import PROJECT
from krona.runs.claim import Claim, describe
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
    overrides: tuple[str, ...] = ()  # in a multirun, its values on the sweep's axes


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """The specification of a job, as plain values that can be passed to another process."""

    config: Mapping[str, Any]  # composed from the user's own command
    outputs: Path
    notes: list[str] = field(default_factory=list)  # messages for result.json
    project: Path = PROJECT  # its code version is recorded
    multirun: bool = False
    position: str = ""  # in a multirun, such as 3/12
    record: Mapping[str, str] = field(default_factory=dict)  # contents of the files in the run's .hydra/, by name

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
        """Write ``.hydra/``. A resumed run keeps the files of its first start."""
        for name, text in self.record.items():
            if not (file := self.run.record / name).exists():
                file.parent.mkdir(exist_ok=True)
                write(file, partial(Path.write_text, data=text, encoding="utf-8"))


def identify(settings: Run) -> str:
    """Return the run's id, from its config and the content of its data, its backbone and its initial adapter."""
    data, config = settings.data, dict(settings.config)
    if settings.init_from is not None:
        config["init_from"] = hash_source(settings.init_from)
    return run_id(
        config,
        data_fingerprint=tasks.data_fingerprint(
            settings.task, kind=data.kind, path=data.path, name=data.name, revision=data.revision
        ),
        backbone_fingerprint=source.fingerprint(settings.backbone),
    )


@contextmanager
def claimed(spec: JobSpec, ranks: Ranks) -> Iterator[Claim | Job | None]:
    """Claim a run's folder on the first rank, and tell the other ranks whether to start.

    Yields the claim, which is None on the other ranks, or the outcome if there is nothing to run.
    """
    if not ranks.first:
        starts = ranks.gather(False)[0]
        yield None if starts else Job(spec.run_id, "skipped", spec.folder)
        return
    with ExitStack() as cleanup:
        try:
            found: Claim | Job | None = None
            try:
                found = _claim(spec, cleanup)
            finally:
                ranks.gather(isinstance(found, Claim))
            yield found
        except OSError as error:
            raise KronaError(
                f"{spec.folder}: {error.strerror or error}. After that is repaired, the same command resumes the run."
            ) from error


def _claim(spec: JobSpec, cleanup: ExitStack) -> Claim | Job:
    outcome = find_outcome(spec)
    if outcome is not None:
        if outcome.state == "skipped":
            with suppress(KronaError, OSError):  # the folder may be read-only
                spec.run.clean(done=True)
        return outcome
    require(spec.settings)
    claim = spec.run.claim()
    if claim is None:
        error = f"{spec.run_id} is being run by {describe(spec.run.owner() or {})}"
        return Job(spec.run_id, "claimed_by_other", spec.folder, error=error)
    cleanup.callback(claim.release)
    if (outcome := find_outcome(spec)) is not None:  # another process finished it meanwhile
        return outcome
    _prepare(spec, claim)
    return claim


def find_outcome(spec: JobSpec) -> Job | None:
    """Return the outcome that the run's folder already has: it is done, or it failed in an earlier sweep."""
    if spec.settings.overwrite:
        return None
    state, result, error = spec.run.state(owned=False)
    if state == "failed" and result is None:
        raise KronaError(f"{error}. Remove the file, or use overwrite=true to run it again.")
    if state == "done" and result is not None:
        return Job(spec.run_id, "skipped", spec.folder, result, messages=_done_messages(result, spec))
    if state == "failed" and spec.multirun and spec.settings.retry != "failed":
        return Job(spec.run_id, "failed", spec.folder, result, f"{error} (retry=failed tries again)")
    return None


def _done_messages(result: Result, spec: JobSpec) -> list[str]:
    finished = str(result.provenance.get("finished", "?")).replace("T", " ").replace("+00:00", " UTC")
    messages = [f"done already ({finished}); overwrite=true runs it again"]
    messages += spec.run.find_damage(result)
    code, then = code_version(spec.project)["git_code"], result.provenance.get("git_code")
    if code is not None and code != then:
        messages.append(f"the code has changed since: {str(then)[:8]} then, {code[:8]} now")
    return messages


def _prepare(spec: JobSpec, claim: Claim) -> None:
    """Remove a claimed run's earlier files unless the run resumes from them. Rename a damaged checkpoint."""
    run = spec.run
    if spec.settings.overwrite or run.state(owned=False)[0] != "interrupted":
        run.remove_attempt(claim)
    if not run.checkpoint.is_file():
        return
    from krona.training.files import find_damage  # Lightning: slow to import

    if (damage := find_damage(run.checkpoint)) is not None:
        aside = claim.set_aside(run.checkpoint)
        spec.notes.append(
            f"{run.checkpoint.name} is damaged ({damage}) and was renamed to {aside.name}. The run starts from the "
            "beginning."
        )
