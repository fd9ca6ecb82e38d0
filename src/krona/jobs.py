"""One job of the command line: done is shown, interrupted goes on, everything else is claimed, run and recorded."""

import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

from rich.console import Console

from krona import backbone_source, check, ownership, tasks
from krona.errors import KronaError
from krona.identity import run_id
from krona.provenance import code_version, provenance
from krona.requirements import require
from krona.results import Result, now, read_result, write_result
from krona.settings import Run

FILES = ("last.ckpt", "adapter.safetensors", "predictions.jsonl", "metrics.csv", "result.json")  # of a run's folder
Watch = Callable[[Any], None]
State = Literal["done", "skipped", "failed", "elsewhere"]


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: the run stops where it is and goes on with the same command."""


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


def run_job(
    config: Mapping[str, Any],
    *,
    notes: list[str],
    outputs: Path,
    project: Path,
    console: Console,
    multirun: bool,
    watch: Watch | None = None,
) -> Job:
    """Run what ``config`` says, unless it is done. A failure in the run is recorded in its result.json.

    ``watch`` is called with the learner after each epoch; `Interrupted` from it stops the run where it is.

    Raises:
        KronaError: the config is wrong: nothing was started and nothing is written.
    """
    settings = check.settings(config)
    identity = identify(settings)
    folder = outputs / identity
    found = known(settings, identity, folder, project, multirun=multirun)
    if found is not None:
        return found
    require(settings)
    claim = ownership.claim(folder)
    if claim is None:
        holder = ownership.owner(folder) or {}
        where = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
        return Job(identity, "elsewhere", folder, None, f"{identity} is being run by {where}")
    try:
        found = known(settings, identity, folder, project, multirun=multirun)  # another may just have finished it
        if found is not None:
            return found
        fresh = begin_afresh(settings, folder)
        with (folder / "train.log").open("w" if fresh else "a", encoding="utf-8") as log:
            return _run_claimed(settings, identity, folder, claim, notes, project, console, log, watch, multirun)
    except OSError as error:
        raise KronaError(
            f"{folder}: {error.strerror or error}; the same command goes on when that is mended"
        ) from error
    finally:
        claim.release()


def known(settings: Run, identity: str, folder: Path, project: Path, *, multirun: bool) -> Job | None:
    """What is known of a run from its folder, where that settles it: it is done, or it failed in an earlier sweep."""
    path = folder / "result.json"
    if settings.overwrite or not path.is_file():
        return None
    try:
        earlier = read_result(path)
    except KronaError as error:
        raise KronaError(f"{error}. Take the file away, or overwrite=true runs it anew") from error
    if earlier.status == "done":
        return Job(identity, "skipped", folder, earlier, messages=done_notes(earlier, project))
    if earlier.status == "failed" and multirun and settings.retry != "failed":
        return Job(identity, "failed", folder, earlier, f"{earlier.error} (retry=failed tries again)")
    return None


def begin_afresh(settings: Run, folder: Path) -> bool:
    """Clear what a claimed folder has from before, unless the run goes on from it; whether it starts at step 0."""
    for name in FILES:
        for part in folder.glob(f".{name}.*"):  # half-written by a process that was killed
            part.unlink()
    path = folder / "result.json"
    goes_on = path.is_file() and not settings.overwrite and read_result(path).status in ("running", "interrupted")
    if not goes_on:
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
    return not goes_on


def _run_claimed(
    settings: Run,
    identity: str,
    folder: Path,
    claim: ownership.Claim,
    notes: list[str],
    project: Path,
    console: Console,
    log: TextIO,
    watch: Watch | None,
    share: bool,
) -> Job:
    from krona.progress import Progress
    from krona.run import run  # transformers and Lightning: not before something runs
    from krona.trackers.tracking import tracking

    progress = Progress(console, log)
    result = Result(
        run_id=identity,
        status="running",
        method=settings.method.name,
        task=settings.task.name,
        seed=settings.seed,
        config=dict(settings.config),
        notes=list(notes),
        provenance={
            **provenance(project),
            "backbone_fingerprint": backbone_source.fingerprint(settings.backbone),
            "pretrained": settings.backbone.pretrained,
            "started": now(),
        },
    )
    progress.say(f"{identity}")
    write_result(folder, result)
    try:
        with tracking(settings, result, folder, say=progress.say, watch=watch) as trackers:
            run(settings, result, folder, progress=progress, trackers=trackers, still_ours=claim.check, share=share)
    except ownership.ClaimLostError:
        raise
    except (Interrupted, KeyboardInterrupt, SystemExit) as stop:
        _finish(result, folder, claim, "interrupted", None)
        # Lightning ends a run by a SystemExit where a SIGTERM came while Python could raise nothing
        raise Interrupted(*([signal.SIGTERM] if isinstance(stop, SystemExit) else stop.args)) from None
    except Exception as error:
        log.write(traceback.format_exc())
        message = str(error) if isinstance(error, KronaError) else f"{type(error).__name__}: {_first_line(error)}"
        _finish(result, folder, claim, "failed", message)
        if not isinstance(error, KronaError):
            message += f" (the trace is in {folder / 'train.log'})"
        return Job(identity, "failed", folder, result, message)
    finally:
        progress.close()
    return Job(identity, "done", folder, result)


def identify(settings: Run) -> str:
    """The run's id, from its config, its data's content and its backbone's."""
    data = settings.data
    return run_id(
        settings.config,
        data_fingerprint=tasks.data_fingerprint(
            settings.task, kind=data.kind, path=data.path, name=data.name, revision=data.revision
        ),
        backbone_fingerprint=backbone_source.fingerprint(settings.backbone),
    )


def done_notes(result: Result, project: Path) -> list[str]:
    """What to know of a run that is done: since when, and whether the code has changed since."""
    notes = [f"done already ({result.provenance.get('finished', '?')}); overwrite=true runs it anew"]
    code, then = code_version(project)["git_code"], result.provenance.get("git_code")
    if code is not None and code != then:
        notes.append(f"the code has changed since: {str(then)[:8]} then, {code[:8]} now")
    return notes


def _finish(result: Result, folder: Path, claim: ownership.Claim, status: Any, error: str | None) -> None:
    claim.check()
    result.status, result.error = status, error
    result.provenance["finished"] = now()
    write_result(folder, result)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")
