"""One job of the command line: done is shown, interrupted goes on, everything else is claimed, run and recorded.

A job of several devices comes here in each of its ranks (`krona.training.ranks`): the first claims, writes and
prints.
"""

import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console

from krona.backbones import source
from krona.jobs.job import Assignment, Job, claimed, known
from krona.jobs.preflight import devices_here, devices_wanted, require
from krona.jobs.processes import Interrupted
from krona.jobs.start_ranks import outcome_of_ranks
from krona.messages import KronaError
from krona.outputs import claim as ownership
from krona.outputs.provenance import provenance
from krona.outputs.result import Result, now, read_result, write_result
from krona.screen import say
from krona.training.machine import device_name
from krona.training.ranks import RankLostError, Ranks, joined, processes_of_run

Watch = Callable[[Any], None]


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
    given = Assignment(config=config, notes=notes, outputs=outputs, project=project, multirun=multirun)
    trainer = given.settings.trainer
    if processes_of_run() == 1:
        return _by_ranks(given, watch) if devices_wanted(trainer) > 1 else _lead(given, Ranks(), console, watch)
    with joined(devices=devices_wanted(trainer), accelerator=devices_here(trainer)[0]) as ranks:
        return _lead(given, ranks, console, watch) if ranks.first else _follow(given, ranks)


def _by_ranks(given: Assignment, watch: Watch | None) -> Job:
    """The job, done by other processes, one a device."""
    found = known(given)
    if found is not None:
        return found
    require(given.settings)
    if watch is not None:
        raise KronaError("a trial is pruned in the process that runs it: trainer.devices=1, and several --workers")
    words = {**asdict(given), "outputs": str(given.outputs), "project": str(given.project)}
    outcome = outcome_of_ranks(words, devices=devices_wanted(given.settings.trainer))
    if "wrong" in outcome:
        raise KronaError(outcome["wrong"])
    if "signal" in outcome:
        raise Interrupted(outcome["signal"])
    path = given.folder / "result.json"
    result = read_result(path) if path.is_file() else None
    return Job(given.run_id, outcome["state"], given.folder, result, outcome["error"], outcome["messages"])


def _follow(given: Assignment, ranks: Ranks) -> Job:
    """The part of a rank that is not the first: the same run, and not a word of it."""
    if not ranks.gather(False)[0]:
        return Job(given.run_id, "skipped", given.folder)
    from krona.training.progress import Progress
    from krona.training.run import run
    from krona.training.tracking import tracking

    settings, result = replace(given.settings, trackers={}), _begun(given)
    progress = Progress(Console(quiet=True))
    with tracking(settings, result, given.folder, say=progress.say) as trackers:
        run(
            settings,
            result,
            given.folder,
            progress=progress,
            trackers=trackers,
            check_claim=lambda: None,
            ranks=ranks,
        )
    return Job(given.run_id, "done", given.folder, result)


def _lead(given: Assignment, ranks: Ranks, console: Console, watch: Watch | None) -> Job:
    """The part of a process alone, or of the first rank."""
    with claimed(given, ranks) as claim:
        if isinstance(claim, Job):
            return claim
        with (given.folder / "train.log").open("a", encoding="utf-8") as log:
            return _run_claimed(given, claim, ranks, console, log, watch)


def _run_claimed(
    given: Assignment, claim: ownership.Claim, ranks: Ranks, console: Console, log: TextIO, watch: Watch | None
) -> Job:
    """Run it; what becomes of it stands in its result.json, whatever that is."""
    from krona.training.progress import Progress
    from krona.training.run import run  # transformers and Lightning: not before something runs
    from krona.training.tracking import tracking

    identity, folder, settings, result = given.run_id, given.folder, given.settings, _begun(given)
    progress = Progress(console, log)
    progress.say(f"{identity}")
    write_result(folder, result)
    try:
        with tracking(settings, result, folder, say=progress.say, watch=watch) as trackers:
            run(
                settings,
                result,
                folder,
                progress=progress,
                trackers=trackers,
                check_claim=claim.check,
                ranks=ranks,
                share=given.multirun and ranks.size == 1,  # a rank does this one run
            )
    except ownership.ClaimLostError:
        raise
    except (Interrupted, KeyboardInterrupt, SystemExit) as stop:
        _note_interrupt(result, folder, claim, console)
        # Lightning ends a run by a SystemExit where a SIGTERM came while Python could raise nothing
        raise Interrupted(*([signal.SIGTERM] if isinstance(stop, SystemExit) else stop.args)) from None
    except RankLostError as error:  # no fault of the run's: it goes on when it is typed again
        _finish(result, folder, claim, "interrupted", str(error))
        return Job(identity, "failed", folder, result, str(error))
    except Exception as error:
        log.write(traceback.format_exc())
        message = _in_words(error)
        _finish(result, folder, claim, "failed", message)
        if not isinstance(error, KronaError):
            message += f" (the trace is in {folder / 'train.log'})"
        return Job(identity, "failed", folder, result, message)
    finally:
        progress.close()
    return Job(identity, "done", folder, result)


def _begun(given: Assignment) -> Result:
    settings = given.settings
    return Result(
        run_id=given.run_id,
        status="running",
        method=settings.method.name,
        task=settings.task.name,
        seed=settings.seed,
        config=dict(settings.config),
        notes=list(given.notes),
        provenance={
            **provenance(given.project, device=device_name(), threads=torch.get_num_threads()),
            "backbone_fingerprint": source.fingerprint(settings.backbone),
            "pretrained": settings.backbone.pretrained,
            "started": now(),
        },
    )


def _finish(result: Result, folder: Path, claim: ownership.Claim, status: Any, error: str | None) -> None:
    claim.check()
    result.status, result.error = status, error
    result.provenance["finished"] = now()
    write_result(folder, result)


def _note_interrupt(result: Result, folder: Path, claim: ownership.Claim, console: Console) -> None:
    """Record an interrupt; where the claim is lost or the disk full, say so: it stops all the same."""
    try:
        _finish(result, folder, claim, "interrupted", None)
    except Exception as error:
        say(console, f"{result.run_id}: its interrupt is not recorded: {_in_words(error)}")


def _in_words(error: Exception) -> str:
    if isinstance(error, KronaError):
        return str(error)
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}"
