"""Claim a run for this process, and record how it ends.

A finished run is not executed again, and an interrupted run resumes.
"""

import pickle
import platform
import signal
import traceback
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console

from krona.display_names import method_label
from krona.formatting import say
from krona.messages import KronaError, first_line
from krona.runs.claim import Claim, ClaimLostError, describe
from krona.runs.folder import RunState
from krona.runs.interrupts import Interrupted, forget_signals
from krona.runs.protocol import record_departures
from krona.runs.provenance import code_change, method_code, own_code, provenance
from krona.runs.result import Result, Status, now, write_result
from krona.safe_files import write_text
from krona.training.devices import Ranks, count_devices
from krona.training.plan import Plan
from krona.training.preflight import require


@dataclass(kw_only=True)
class ClaimedRun:
    """A run that this process executes, from its claim to its outcome."""

    plan: Plan
    ranks: Ranks
    claim: Claim | None = None  # None on ranks other than 0, which write no files
    console: Console = field(default_factory=lambda: Console(quiet=True))
    log: TextIO | None = None  # train.log
    outcome: RunState | None = None  # None until the run has ended

    @cached_property
    def result(self) -> Result:
        """The result, which the run fills and rank 0 writes."""
        return new_result(self.plan)


@contextmanager
def claimed(plan: Plan, ranks: Ranks, console: Console) -> Iterator[ClaimedRun | RunState]:
    """Claim a run's folder on rank 0, and record in result.json how the body ended.

    An error of the body is recorded in ``outcome``, and not raised again. If another process works on the run, or the
    run has ended before, the context is the run's state, and the body must not start the run.

    Raises:
        KronaError: the run cannot start, in which case no file is written; the run's folder is not writable; another
            process took over the run; or an error occurred on a rank other than 0.
        Interrupted: a signal or ``plan.after_epoch`` stopped the run. The run's result.json records the interrupt.
    """
    start: Claim | RunState | None = None
    try:
        with ExitStack() as cleanup:
            try:
                start = _claim(plan, cleanup) if ranks.first else None
            finally:  # the other ranks wait here, also if the claim raises an error
                starts = ranks.gather(isinstance(start, Claim))[0]
            if not starts:  # only rank 0 knows the state
                yield start if isinstance(start, RunState) else RunState(plan.run_id, "done", plan.folder)
                return
            run = ClaimedRun(plan=plan, ranks=ranks)
            if isinstance(start, Claim):
                run.claim, run.console = start, console
                run.log = cleanup.enter_context(plan.run_folder.log.open("a", encoding="utf-8"))
                _write_start(run, start)
                with _recorded(run, start, run.log):
                    yield run
            else:
                with _other_rank(run):
                    yield run
    except OSError as error:
        raise KronaError(
            f"The folder {plan.folder} cannot be used: {error.strerror or error}. Correct the cause, then run the "
            "same command to resume the run."
        ) from error


def _claim(plan: Plan, cleanup: ExitStack) -> Claim | RunState:
    if (outcome := find_outcome(plan)) is not None:
        if outcome.state == "done already":
            plan.run_folder.clean()
        return outcome
    require(plan.settings, plan.initial)
    claim = plan.run_folder.claim()
    if claim is None:
        error = f"{plan.run_id} is already running in {describe(plan.run_folder.owner())}. Wait until it has ended."
        return RunState(plan.run_id, "running", plan.folder, error=error)
    cleanup.callback(claim.release)
    if (outcome := find_outcome(plan)) is not None:  # meanwhile another process has finished the run
        return outcome
    if plan.overwrites or plan.run_folder.state(ignore_claim=True).state != "interrupted":
        plan.run_folder.remove_attempt(claim)
    if (earlier := plan.run_folder.state(ignore_claim=True).result) is not None:
        plan.notes.extend(f"The run resumes with other code: {change}." for change in code_change(earlier))
    checkpoint = plan.run_folder.checkpoint
    if checkpoint.is_file() and (damage := find_damage(checkpoint)) is not None:
        aside = claim.set_aside(checkpoint)
        plan.notes.append(
            f"{checkpoint.name} is damaged ({damage}) and was renamed to {aside.name}. The run starts from the "
            "beginning."
        )
    return claim


def _write_start(run: ClaimedRun, claim: Claim) -> None:
    """Write the first files of a run. If the run resumes, keep the recorded progress until the next epoch ends."""
    forget_signals()
    plan, result = run.plan, run.result
    if (
        plan.run_folder.checkpoint.is_file()
        and (earlier := plan.run_folder.state(ignore_claim=True).result) is not None
    ):
        result.dev_curve, result.progress = earlier.dev_curve, earlier.progress
    write_result(plan.folder, result, claim.write)
    for name, text in plan.hydra_files.items():  # a resumed run keeps the files of its first start
        if not (file := plan.run_folder.hydra_folder / name).exists():
            file.parent.mkdir(exist_ok=True)
            write_text(file, text, claim.write)


@contextmanager
def _recorded(run: ClaimedRun, claim: Claim, log: TextIO) -> Iterator[None]:
    """Set ``run.outcome`` when the body ends, and record an error or an interrupt in result.json."""
    plan, result, folder = run.plan, run.result, run.plan.folder
    try:
        yield
        run.outcome = RunState(plan.run_id, "done", folder, result)
    except ClaimLostError:
        raise
    except (Interrupted, KeyboardInterrupt, SystemExit, BrokenPipeError) as stop:
        try:
            if not _is_done(plan):  # if the run is done, only a logger was still sending values
                _finish(result, folder, claim, "interrupted", None)
        except Exception as error:  # the claim is lost, or the disk is full
            say(run.console, f"{result.run_id}: the interrupt could not be recorded: {format_error(error)}")
        # Lightning ends a run with SystemExit if a SIGTERM arrived while Python could not raise an exception. A pipe is
        # broken if the reader of the output has ended, such as head.
        number = {SystemExit: signal.SIGTERM, BrokenPipeError: signal.SIGPIPE}.get(type(stop))
        raise Interrupted(*(stop.args if number is None else [number])) from None
    except Exception as error:
        trace, message = plan.mask(traceback.format_exc()), plan.mask(format_error(error))
        log.write(trace)
        if _is_done(plan):
            say(run.console, f"{result.run_id}: the run is done, but then an error occurred: {message}")
            run.outcome = RunState(plan.run_id, "done", folder, result)
            return
        lost = run.ranks.size > 1 and isinstance(error, RuntimeError)  # perhaps because another process has ended
        _finish(result, folder, claim, "interrupted" if lost else "failed", message)
        if not isinstance(error, KronaError):
            if plan.settings.trainer.fast_dev_run:  # the log is in a temporary folder
                say(run.console, trace)
            else:
                message += f" (the stack trace is in {plan.run_folder.log})"
        run.outcome = RunState(plan.run_id, "failed", folder, result, message)


@contextmanager
def _other_rank(run: ClaimedRun) -> Iterator[None]:
    """Set ``run.outcome`` when the body ends on a rank other than 0, which records nothing."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        raise KronaError(f"Process {run.ranks.rank} of this run ended: {format_error(error)}") from error
    run.outcome = RunState(run.plan.run_id, "done", run.plan.folder)


def _is_done(plan: Plan) -> bool:
    return plan.run_folder.state(ignore_claim=True).state == "done"


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
        **({"search": plan.search} if plan.search else {}),
        **({"own_code": code} if (code := own_code(settings.config)) else {}),
        **({"method_code": digest} if (digest := method_code(settings.config)) else {}),
        "started": now(),
    }
    result = Result(
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
    record_departures(result)
    return result


def _finish(result: Result, folder: Path, claim: Claim, status: Status, error: str | None) -> None:
    """Record that a run ended early. If the run already has scores, remove them."""
    result.status, result.error = status, error
    result.dev = result.test = None
    result.provenance["finished"] = now()
    write_result(folder, result, claim.write)


def find_outcome(plan: Plan) -> RunState | None:
    """Return the state of a run that has ended, or None if the run has to be executed.

    A run is not executed again if it is done, or if it has failed and this is a multirun without ``retry=failed``.

    Raises:
        KronaError: the run's result.json cannot be read.
    """
    if plan.overwrites:
        return None
    known = plan.run_folder.state(ignore_claim=True)
    if known.state == "damaged":
        raise KronaError(f"{known.error}. Remove the file, or use overwrite=true to run it again.")
    if known.state == "done" and known.result is not None:
        return replace(known, state="done already", messages=_done_messages(known.result, plan))
    if known.state == "failed" and plan.multirun and plan.settings.retry != "failed":
        return replace(known, error=f"{known.error} (to run it again, add retry=failed)")
    return None


def _done_messages(result: Result, plan: Plan) -> list[str]:
    finished = str(result.provenance.get("finished", "?")).replace("T", " ").replace("+00:00", " UTC")
    messages = [f"done already ({finished}). To run it again, add overwrite=true"]
    messages += plan.run_folder.find_damage(result)
    if new := sorted(plan.settings.logger.keys() - (result.config.get("logger") or {}).keys()):
        messages.append(
            f"logger={','.join(new)}: nothing was logged, because the run is done. To log it, add overwrite=true"
        )
    return messages + code_change(result)


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


def format_error(error: Exception) -> str:
    """Return the message of a `KronaError`, or the class and first line of another exception."""
    if isinstance(error, KronaError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"
