"""One job: shown if it is done, resumed if it was interrupted; else claimed, run and recorded.

With several devices, each rank calls this (`krona.training.ranks`): the first one claims, writes and prints.
"""

import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console

from krona.backbones import source
from krona.jobs.job import Job, JobSpec, claimed, known_outcome
from krona.jobs.preflight import devices_here, devices_wanted, require
from krona.jobs.processes import Interrupted, begin_run, stop_if_interrupted
from krona.jobs.rehearsal import rehearse
from krona.jobs.start_ranks import run_by_ranks
from krona.messages import KronaError, without_password
from krona.runs.claim import Claim, ClaimLostError
from krona.runs.provenance import provenance
from krona.runs.result import Result, Status, now, write_result
from krona.screen import say
from krona.training.machine import device_name
from krona.training.ranks import RankLostError, Ranks, join_ranks, num_processes

AfterEpoch = Callable[[Any], None]  # called with the learner


def run_job(
    config: Mapping[str, Any],
    *,
    notes: list[str],
    outputs: Path,
    project: Path,
    console: Console,
    multirun: bool,
    position: str = "",
    after_epoch: AfterEpoch | None = None,
    record: Mapping[str, str] | None = None,
) -> Job:
    """Run a config, unless its run is done. A failure in the run is recorded in its result.json.

    ``position``: in a multirun, 3/12. ``after_epoch`` may raise `Interrupted`, which stops the run. ``record``: the
    files of the run's ``.hydra/``.

    Raises:
        KronaError: the config is wrong; nothing was started or written.
    """
    spec = JobSpec(
        config=config,
        notes=notes,
        outputs=outputs,
        project=project,
        multirun=multirun,
        position=position,
        record=dict(record or {}),
    )
    if spec.settings.trainer.fast_dev_run:
        return rehearse(spec, console, run_spec)
    return run_spec(spec, console, after_epoch)


def run_spec(spec: JobSpec, console: Console, after_epoch: AfterEpoch | None = None) -> Job:
    """Run a job in this process, in one process per device, or as a rank that was started for it."""
    devices = devices_wanted(spec.settings.trainer)
    if num_processes() > 1:
        with join_ranks(devices=devices, accelerator=devices_here(spec.settings.trainer)[0]) as ranks:
            return _lead(spec, ranks, console, after_epoch) if ranks.first else _follow(spec, ranks)
    if devices == 1:
        return _lead(spec, Ranks(), console, after_epoch)
    if (known := known_outcome(spec)) is not None:
        return known
    require(spec.settings)
    if after_epoch is not None:
        raise KronaError("a trial is pruned in the process that runs it: trainer.devices=1, and several --workers")
    return run_by_ranks(spec, devices=devices)


def _follow(spec: JobSpec, ranks: Ranks) -> Job:
    """The part of a rank that is not the first: the same run, without output."""
    if not ranks.gather(False)[0]:
        return Job(spec.run_id, "skipped", spec.folder)
    from krona.training.progress import Progress
    from krona.training.run import run
    from krona.training.tracking import tracking

    settings, result = replace(spec.settings, trackers={}), _begun(spec)
    progress = Progress(Console(quiet=True))
    with tracking(settings, result, spec.folder, say=progress.say) as trackers:
        run(settings, result, spec.folder, progress=progress, trackers=trackers, claim=None, ranks=ranks)
    return Job(spec.run_id, "done", spec.folder, result)


def _lead(spec: JobSpec, ranks: Ranks, console: Console, after_epoch: AfterEpoch | None) -> Job:
    """The part of a single process or of the first rank."""
    with claimed(spec, ranks) as claim:
        if isinstance(claim, Job):  # nothing to run
            return claim
        with spec.run.log.open("a", encoding="utf-8") as log:
            return _run_claimed(spec, claim, ranks, console, log, after_epoch)


def _run_claimed(
    spec: JobSpec, claim: Claim, ranks: Ranks, console: Console, log: TextIO, after_epoch: AfterEpoch | None
) -> Job:
    """Run it and record its end in result.json, whatever it is."""
    from krona.training.progress import Progress
    from krona.training.run import run  # transformers and Lightning: not before something runs
    from krona.training.tracking import tracking

    def epoch_ended(learner: Any) -> None:
        stop_if_interrupted()
        if after_epoch is not None:
            after_epoch(learner)

    begin_run()
    folder, settings, result = spec.folder, spec.settings, _begun(spec)
    progress = Progress(console, log, one_of_many=spec.multirun)
    progress.say("  ".join(filter(None, (spec.position, spec.run_id))))
    write_result(folder, result, claim.write)
    spec.write_record(claim.write)
    if not spec.run.checkpoint.is_file():  # it begins anew, and so do the values that it tracks
        claim.remove(spec.run.tracked)
    try:
        with tracking(settings, result, folder, say=progress.say, after_epoch=epoch_ended) as trackers:
            run(
                settings,
                result,
                folder,
                progress=progress,
                trackers=trackers,
                claim=claim,
                ranks=ranks,
                share=spec.multirun and ranks.size == 1,  # a rank is there for one run only
            )
    except ClaimLostError:
        raise
    except (Interrupted, KeyboardInterrupt, SystemExit) as stop:
        _record_interrupt(result, folder, claim, console)
        # Lightning ends a run by a SystemExit where a SIGTERM came while Python could raise nothing
        raise Interrupted(*([signal.SIGTERM] if isinstance(stop, SystemExit) else stop.args)) from None
    except RankLostError as error:  # not the run's fault: the same command resumes it
        _finish(result, folder, claim, "interrupted", str(error))
        return Job(spec.run_id, "failed", folder, result, str(error))
    except Exception as error:
        log.write(traceback.format_exc())
        message = format_error(error)
        _finish(result, folder, claim, "failed", message)
        if not isinstance(error, KronaError):
            message += f" (the trace is in {spec.run.log})"
        return Job(spec.run_id, "failed", folder, result, message)
    finally:
        progress.close()
    return Job(spec.run_id, "done", folder, result)


def _begun(spec: JobSpec) -> Result:
    settings = spec.settings
    return Result(
        run_id=spec.run_id,
        status="running",
        method=settings.method.name,
        task=settings.task.name,
        seed=settings.seed,
        config={**settings.config, "logger": without_password(settings.config.get("logger", {}))},
        notes=list(spec.notes),
        provenance={
            **provenance(spec.project, device=device_name(), threads=torch.get_num_threads()),
            "backbone_fingerprint": source.fingerprint(settings.backbone),
            "pretrained": settings.backbone.pretrained,
            "started": now(),
        },
    )


def _finish(result: Result, folder: Path, claim: Claim, status: Status, error: str | None) -> None:
    result.status, result.error = status, error
    result.provenance["finished"] = now()
    write_result(folder, result, claim.write)


def _record_interrupt(result: Result, folder: Path, claim: Claim, console: Console) -> None:
    """Record an interrupt; if the claim is lost or the disk full, say so and stop all the same."""
    try:
        _finish(result, folder, claim, "interrupted", None)
    except Exception as error:
        say(console, f"{result.run_id}: its interrupt is not recorded: {format_error(error)}")


def format_error(error: Exception) -> str:
    if isinstance(error, KronaError):
        return str(error)
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}"
