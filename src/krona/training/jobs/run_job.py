"""Run one job, from its specification to the recorded result.

`run_job` checks whether the run is done, reserves the run's folder for this process (a claim), trains
(`krona.training.run`) and records the outcome. With several devices, each process (rank) executes the same functions,
but only rank 0 claims the folder, writes files and prints.
"""

import signal
import tempfile
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console

from krona.backbones import source
from krona.formatting import say
from krona.messages import KronaError, first_line
from krona.runs.claim import Claim, ClaimLostError
from krona.runs.interrupts import Interrupted, forget_signals, stop_if_interrupted
from krona.runs.provenance import own_code, provenance
from krona.runs.result import Result, Status, now, write_result
from krona.training.jobs.job import Job, JobSpec, claimed, find_outcome
from krona.training.jobs.preflight import count_devices, devices_wanted, require
from krona.training.jobs.start_ranks import run_by_ranks
from krona.training.machine import device_name
from krona.training.ranks import RankLostError, Ranks, join_ranks, num_processes


def run_job(spec: JobSpec, console: Console) -> Job:
    """Run a job unless its run is done, and return the job with its outcome.

    If the run fails, the error is recorded in its result.json and in the returned job.

    Raises:
        KronaError: the config is invalid, so that the run was not started and no files were written. Or the run
            stopped because its folder can't be written to, or because another process took over the run.
        Interrupted: a signal or ``spec.after_epoch`` stopped the run. The run's result.json records the interrupt.
    """
    if spec.settings.trainer.fast_dev_run:
        return _rehearse(spec, console)
    return run_on_devices(spec, console)


def run_on_devices(spec: JobSpec, console: Console) -> Job:
    """Run a job in this process, or in a new process for each device unless torchrun or srun started this process."""
    devices = devices_wanted(spec.settings.trainer)
    if num_processes() > 1:
        with join_ranks(devices=devices, accelerator=count_devices(spec.settings.trainer)[0]) as ranks:
            return _run_rank(spec, ranks, console)
    if devices == 1:
        return _run_rank(spec, Ranks(), console)
    if (known := find_outcome(spec)) is not None:
        return known
    require(spec.settings, spec.initial)
    if spec.after_epoch is not None:
        raise KronaError("A trial of a study can't use several devices. Use trainer.devices=1 and several --workers.")
    return run_by_ranks(spec, devices=devices)


def _rehearse(spec: JobSpec, console: Console) -> Job:
    """Run one epoch of a few batches without loggers in a temporary folder (``trainer.fast_dev_run``)."""
    if spec.multirun:
        raise KronaError("trainer.fast_dev_run saves no results, so it can't be used in a sweep. Remove -m.")
    trainer = dict(spec.config["trainer"])
    trainer["max_epochs"] = min(1, trainer["max_epochs"])
    with tempfile.TemporaryDirectory(prefix="krona-") as folder:
        config = {**spec.config, "trainer": trainer, "logger": {}}
        rehearsal = replace(spec, config=config, outputs=Path(folder), after_epoch=None)
        job, log = run_on_devices(rehearsal, console), rehearsal.run.log
        error, hint = job.error, _trace_hint(log)
        if error is not None and error.endswith(hint):
            text, error = log.read_text(encoding="utf-8"), error.removesuffix(hint)
            say(console, text[text.index("Traceback") :])
    if job.state == "done":
        count = int(spec.settings.trainer.fast_dev_run)
        batches = "one batch" if count == 1 else f"{count:,} batches"
        say(console, f"  fast_dev_run: {batches} of train, of dev and of test succeeded. No files were kept.")
    return replace(job, result=None, error=error)


def _run_rank(spec: JobSpec, ranks: Ranks, console: Console) -> Job:
    if not ranks.first:  # trains without files and output
        if not ranks.gather(False)[0]:
            return Job(spec.run_id, "skipped", spec.folder)
        _train(spec, result := _new_result(spec), Console(quiet=True), ranks)
        return Job(spec.run_id, "done", spec.folder, result)
    with claimed(spec, ranks) as claim:
        if isinstance(claim, Job):
            return claim
        with spec.run.log.open("a", encoding="utf-8") as log:
            return _run_claimed(spec, claim, ranks, console, log)


def _train(
    spec: JobSpec,
    result: Result,
    console: Console,
    ranks: Ranks,
    *,
    claim: Claim | None = None,
    log: TextIO | None = None,
) -> None:
    from krona.training.progress import Progress
    from krona.training.run import run  # imports transformers and Lightning, which are slow
    from krona.training.run_files import RunFiles
    from krona.training.tracking import tracking

    def after_epoch(learner: Any) -> None:
        stop_if_interrupted()
        if spec.after_epoch is not None:
            spec.after_epoch(learner)

    settings = spec.settings if ranks.first else replace(spec.settings, logger={})
    progress = Progress(console, log, shows_notes=spec.shows_notes)
    progress.say("  ".join(filter(None, (spec.position, spec.run_id))))
    try:
        with tracking(settings, result, spec.folder, say=progress.say) as callback:
            files = RunFiles(run=spec.run, claim=claim, ranks=ranks)
            share = spec.multirun and ranks.size == 1  # the process of a rank runs only one run
            run(
                settings,
                result,
                files,
                initial=spec.initial,
                progress=progress,
                tracking=callback,
                after_epoch=after_epoch,
                share=share,
            )
    finally:
        progress.close()


def _run_claimed(spec: JobSpec, claim: Claim, ranks: Ranks, console: Console, log: TextIO) -> Job:
    """Run a claimed run and record in result.json how it ended."""
    forget_signals()
    folder, result = spec.folder, _new_result(spec)
    if spec.run.checkpoint.is_file() and (earlier := spec.run.state(ignore_claim=True).result) is not None:
        result.dev_curve, result.progress = earlier.dev_curve, earlier.progress  # until the end of its next epoch
    write_result(folder, result, claim.write)
    spec.write_record(claim.write)
    try:
        _train(spec, result, console, ranks, claim=claim, log=log)
    except ClaimLostError:
        raise
    except (Interrupted, KeyboardInterrupt, SystemExit, BrokenPipeError) as stop:
        try:
            if not _is_done(spec):  # otherwise a logger is sending its last values
                _finish(result, folder, claim, "interrupted", None)
        except Exception as error:  # the claim is lost, or the disk is full
            say(console, f"{result.run_id}: the interrupt could not be recorded: {format_error(error)}")
        # Lightning ends a run with SystemExit if a SIGTERM arrived while Python could not raise an exception. A pipe is
        # broken if the reader of the output has ended, such as head.
        number = {SystemExit: signal.SIGTERM, BrokenPipeError: signal.SIGPIPE}.get(type(stop))
        raise Interrupted(*(stop.args if number is None else [number])) from None
    except RankLostError as error:  # this is not an error of the run, so the same command resumes it
        _finish(result, folder, claim, "interrupted", str(error))
        return Job(spec.run_id, "failed", folder, result, str(error))
    except Exception as error:
        log.write(traceback.format_exc())
        message = format_error(error)
        if _is_done(spec):
            say(console, f"{result.run_id}: the run is done, but then an error occurred: {message}")
            return Job(spec.run_id, "done", folder, result)
        _finish(result, folder, claim, "failed", message)
        if not isinstance(error, KronaError):
            message += _trace_hint(spec.run.log)
        return Job(spec.run_id, "failed", folder, result, message)
    return Job(spec.run_id, "done", folder, result)


def _is_done(spec: JobSpec) -> bool:
    return spec.run.state(ignore_claim=True).state == "done"


def _trace_hint(log: Path) -> str:
    return f" (the stack trace is in {log})"


def _new_result(spec: JobSpec) -> Result:
    settings = spec.settings
    recorded: Any = {
        **provenance(device=device_name(count_devices(settings.trainer)[0]), threads=torch.get_num_threads()),
        "data_fingerprint": spec.data_fingerprint,
        "backbone_fingerprint": source.fingerprint(settings.backbone),
        "pretrained": settings.backbone.pretrained,
        **({"own_code": code} if (code := own_code(settings.config)) else {}),
        "started": now(),
    }
    return Result(
        run_id=spec.run_id,
        status="running",
        method=settings.method.name,
        task=settings.task.name,
        seed=settings.seed,
        config=spec.config_to_store,
        notes=list(spec.notes),
        provenance=recorded,
    )


def _finish(result: Result, folder: Path, claim: Claim, status: Status, error: str | None) -> None:
    """Record that a run ended before it was done. If its training was complete, its scores are removed again."""
    result.status, result.error = status, error
    result.dev = result.test = None
    result.provenance["finished"] = now()
    write_result(folder, result, claim.write)


def format_error(error: Exception) -> str:
    """Return the text of an error: the message of a `KronaError`, or the class and first line of another exception."""
    if isinstance(error, KronaError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"
