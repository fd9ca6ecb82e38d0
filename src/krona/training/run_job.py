"""Run one job, from its specification to the recorded result.

`run_job` checks whether the run is done, reserves the run's folder for this process (a claim), trains
(`krona.training.run`) and records the outcome.
"""

import os
import pickle
import platform
import signal
import subprocess
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console

from krona.formatting import override_text, say
from krona.labels import method_label
from krona.messages import KronaError, first_line
from krona.runs.claim import Claim, ClaimLostError, describe
from krona.runs.folder import RunState
from krona.runs.interrupts import Interrupted, forget_signals
from krona.runs.parent_process import PARENT
from krona.runs.provenance import method_code, own_code, provenance
from krona.runs.result import Result, Status, now, write_result
from krona.training.devices import Ranks, count_devices, devices_wanted, join_processes, torchrun
from krona.training.launcher_environment import num_processes
from krona.training.plan import Plan, code_notes, find_outcome
from krona.training.preflight import require


def run_job(plan: Plan, console: Console) -> RunState:
    """Run a job unless its run is done, and return the state of the run.

    If the run fails, the error is recorded in the run's result.json and in the returned state. With ``trainer.devices``
    above 1, torchrun replaces this process or, in a multirun, becomes a child of this process.

    Raises:
        KronaError: the config is invalid, in which case the run is not started and no file is written; the run's folder
            is not writable; or another process took over the run.
        Interrupted: a signal or ``plan.after_epoch`` stopped the run. The run's result.json records the interrupt.
    """
    trainer = plan.settings.trainer
    devices = devices_wanted(trainer)
    if devices > 1 and num_processes() == 1:
        return find_outcome(plan) or _run_by_torchrun(plan, devices)
    with join_processes(accelerator=count_devices(trainer)[0]) as ranks:
        return (_rehearse if trainer.fast_dev_run else _run)(plan, ranks, console)


def _run_by_torchrun(plan: Plan, devices: int) -> RunState:
    require(plan.settings, plan.initial)
    if plan.overrides is None:
        raise KronaError(
            "A run on several devices needs a process for each device. Use train.py or torchrun to start it. A trial "
            "of a study cannot use several devices."
        )
    overrides = [*plan.overrides, f"hydra.run.dir={override_text(str(plan.outputs))}"]
    command, variables = torchrun(devices, overrides)
    if not plan.multirun:
        sys.stdout.flush()
        os.execve(command[0], command, variables)
    variables[PARENT] = str(os.getpid())
    process = subprocess.Popen(command, env=variables, start_new_session=True)  # Ctrl-C then reaches only this process
    try:
        process.wait()
    except BaseException:
        process.terminate()  # torchrun forwards the signal to its processes
        process.wait()
        raise
    known = plan.run.state()
    if known.state == "done":
        return known
    error = known.error or f"The run is {known.state}. Its messages are above. The same command resumes it."
    return replace(known, state="failed", error=error)


def _rehearse(plan: Plan, ranks: Ranks, console: Console) -> RunState:
    """Run one epoch of a few batches without loggers in a temporary folder (``trainer.fast_dev_run``)."""
    if plan.multirun:
        raise KronaError("trainer.fast_dev_run saves no results, so it cannot be used in a sweep. Remove -m.")
    trainer = replace(plan.settings.trainer, max_epochs=min(1, plan.settings.trainer.max_epochs))
    settings = replace(plan.settings, trainer=trainer, logger={})
    with tempfile.TemporaryDirectory(prefix="krona-") as folder:
        job = _run(replace(plan, settings=settings, outputs=Path(folder), after_epoch=None), ranks, console)
    if job.state == "done":
        count = int(plan.settings.trainer.fast_dev_run)
        batches = "one batch" if count == 1 else f"{count:,} batches"
        say(console, f"  fast_dev_run: {batches} of train, of dev and of test succeeded. No files were kept.")
    return replace(job, result=None)


def _run(plan: Plan, ranks: Ranks, console: Console) -> RunState:
    with claimed(plan, ranks) as start:
        if isinstance(start, RunState):
            return start
        if start is None:
            return _run_without_files(plan, ranks)
        with plan.run.log.open("a", encoding="utf-8") as log:
            return _run_claimed(plan, start, ranks, console, log)


@contextmanager
def claimed(plan: Plan, ranks: Ranks) -> Iterator[Claim | RunState | None]:
    """Claim a run's folder on rank 0, and inform the other ranks whether the run starts.

    Yield the state of the run if it does not start. Otherwise yield the claim on rank 0, and None on other
    ranks.
    """
    start: Claim | RunState | None = None
    try:
        with ExitStack() as cleanup:
            try:
                start = _claim(plan, cleanup) if ranks.first else None
            finally:  # the other ranks wait here, also if the claim raises an error
                starts = ranks.gather(isinstance(start, Claim))[0]
            yield start if ranks.first or starts else RunState(plan.run_id, "done", plan.folder)
    except OSError as error:
        raise KronaError(
            f"The folder {plan.folder} cannot be used: {error.strerror or error}. Correct the cause, then run the "
            "same command to resume the run."
        ) from error


def _claim(plan: Plan, cleanup: ExitStack) -> Claim | RunState:
    if (outcome := find_outcome(plan)) is not None:
        if outcome.state == "done already":
            plan.run.clean()
        return outcome
    require(plan.settings, plan.initial)
    claim = plan.run.claim()
    if claim is None:
        error = f"{plan.run_id} is already running in {describe(plan.run.owner())}. Wait until it has ended."
        return RunState(plan.run_id, "running", plan.folder, error=error)
    cleanup.callback(claim.release)
    if (outcome := find_outcome(plan)) is not None:  # meanwhile another process has finished the run
        return outcome
    if plan.overwrites or plan.run.state(ignore_claim=True).state != "interrupted":
        plan.run.remove_attempt(claim)
    plan.notes.extend(code_notes(plan))
    checkpoint = plan.run.checkpoint
    if checkpoint.is_file() and (damage := find_damage(checkpoint)) is not None:
        aside = claim.set_aside(checkpoint)
        plan.notes.append(
            f"{checkpoint.name} is damaged ({damage}) and was renamed to {aside.name}. The run starts from the "
            "beginning."
        )
    return claim


def find_damage(checkpoint: Path) -> str | None:
    """Return a description of the damage in a checkpoint file.

    Return None if the file can be read and the checksums (CRC) of all its entries are correct.
    """
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            if (damaged := parts.testzip()) is not None:
                return f"the checksum of its entry {damaged} is wrong"
        content = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError:  # torch's own message advises users to allow arbitrary code
        return "it contains objects that are not weights or numbers"
    except Exception as error:  # zip, pickle and torch raise different exception types
        return first_line(error)
    return None if "krona" in content else "krona did not write it"


def _run_without_files(plan: Plan, ranks: Ranks) -> RunState:
    """Run on a rank other than 0, without files and output."""
    from krona.training.progress import Progress
    from krona.training.run import run
    from krona.training.tracking import Tracking

    try:
        with closing(Progress(Console(quiet=True))) as progress:
            run(plan, new_result(plan), ranks, None, progress=progress, tracking=Tracking([]))
    except (RuntimeError, OSError) as error:
        raise KronaError(f"Process {ranks.rank} of this run ended: {format_error(error)}") from error
    return RunState(plan.run_id, "done", plan.folder)


def _run_claimed(plan: Plan, claim: Claim, ranks: Ranks, console: Console, log: TextIO) -> RunState:
    """Run a claimed run and record in result.json how it ended."""
    forget_signals()
    folder, result = plan.folder, new_result(plan)
    if plan.run.checkpoint.is_file() and (earlier := plan.run.state(ignore_claim=True).result) is not None:
        # result.json keeps the recorded progress until the next epoch ends
        result.dev_curve, result.progress = earlier.dev_curve, earlier.progress
    write_result(folder, result, claim.write)
    plan.write_record(claim.write)
    try:
        from krona.training.progress import Progress
        from krona.training.run import run  # imports transformers and Lightning, which are slow
        from krona.training.tracking import tracking

        with closing(Progress(console, log, shows_notes=plan.shows_notes)) as progress:
            progress.say("  ".join(filter(None, (plan.position, plan.run_id))))
            with tracking(plan.settings, result, folder, say=lambda line: progress.say(plan.mask(line))) as callback:
                run(plan, result, ranks, claim, progress=progress, tracking=callback)
    except ClaimLostError:
        raise
    except (Interrupted, KeyboardInterrupt, SystemExit, BrokenPipeError) as stop:
        try:
            if not _is_done(plan):  # if the run is done, only a logger was still sending values
                _finish(result, folder, claim, "interrupted", None)
        except Exception as error:  # the claim is lost, or the disk is full
            say(console, f"{result.run_id}: the interrupt could not be recorded: {format_error(error)}")
        # Lightning ends a run with SystemExit if a SIGTERM arrived while Python could not raise an exception. A pipe is
        # broken if the reader of the output has ended, such as head.
        number = {SystemExit: signal.SIGTERM, BrokenPipeError: signal.SIGPIPE}.get(type(stop))
        raise Interrupted(*(stop.args if number is None else [number])) from None
    except Exception as error:
        trace, message = plan.mask(traceback.format_exc()), plan.mask(format_error(error))
        log.write(trace)
        if _is_done(plan):
            say(console, f"{result.run_id}: the run is done, but then an error occurred: {message}")
            return RunState(plan.run_id, "done", folder, result)
        lost = ranks.size > 1 and isinstance(error, RuntimeError)  # perhaps because another process has ended
        _finish(result, folder, claim, "interrupted" if lost else "failed", message)
        if not isinstance(error, KronaError):
            if plan.settings.trainer.fast_dev_run:  # the log is in a temporary folder
                say(console, trace)
            else:
                message += f" (the stack trace is in {plan.run.log})"
        return RunState(plan.run_id, "failed", folder, result, message)
    return RunState(plan.run_id, "done", folder, result)


def _is_done(plan: Plan) -> bool:
    return plan.run.state(ignore_claim=True).state == "done"


def new_result(plan: Plan) -> Result:
    """Return the result of a run that has not started, with its config and its provenance."""
    settings = plan.settings
    varied = {key: plan.mask(value) for key, value in plan.varied.items()}
    label, settings_text = method_label(settings.method.name), ", ".join(f"{key}={varied[key]}" for key in varied)
    kind, _ = count_devices(settings.trainer)
    device = torch.cuda.get_device_name() if kind == "cuda" else f"{kind} ({platform.machine()})"
    recorded: Any = {
        **provenance(device=device, threads=torch.get_num_threads()),
        "data_fingerprint": plan.data_fingerprint,
        "backbone_fingerprint": plan.backbone_fingerprint,
        "pretrained": settings.backbone.pretrained,
        **({"own_code": code} if (code := own_code(settings.config)) else {}),
        **({"method_code": digest} if (digest := method_code(settings.config)) else {}),
        "started": now(),
    }
    return Result(
        run_id=plan.run_id,
        status="running",
        method=settings.method.name,
        task=settings.task.name,
        seed=settings.seed,
        config=dict(plan.stored),
        row={"label": f"{label} ({settings_text})" if varied else label, "settings": varied},
        data_kind=settings.task.data_kind,
        notes=list(plan.notes),
        provenance=recorded,
    )


def _finish(result: Result, folder: Path, claim: Claim, status: Status, error: str | None) -> None:
    """Record that a run ended early. If the run already has scores, remove them."""
    result.status, result.error = status, error
    result.dev = result.test = None
    result.provenance["finished"] = now()
    write_result(folder, result, claim.write)


def format_error(error: Exception) -> str:
    """Return the message of a `KronaError`, or the class and first line of another exception."""
    if isinstance(error, KronaError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"
