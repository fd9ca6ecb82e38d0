"""Run one job: claim the run's folder, train, and record how the run ended.

A finished run is not executed again, and an interrupted run resumes.
"""

import gc
import os
import pickle
import platform
import signal
import subprocess
import sys
import tempfile
import traceback
import zipfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from krona.display_names import method_label
from krona.formatting import override_text, say
from krona.messages import KronaError, first_line
from krona.paths import program
from krona.runs.claim import Claim, ClaimLostError, describe, read_owner
from krona.runs.description import record_departures
from krona.runs.folder import RunState
from krona.runs.processes import PARENT, Interrupted, forget_signals, num_processes
from krona.runs.result import Result, Status, now, write_result
from krona.runs.run_id import code_change, method_code, own_code, provenance
from krona.safe_files import write_text
from krona.training.devices import Ranks, count_devices, cpu_count, devices_wanted, join_processes
from krona.training.plan import Plan, require


def run_job(plan: Plan, console: Console) -> RunState:
    """Run a job unless its run is done, and return the state of the run.

    If the run fails, the error is recorded in the run's result.json and in the returned state. With ``trainer.devices``
    above 1, torchrun replaces this process or, in a multirun, becomes a child of this process.

    Raises:
        KronaError: the run cannot start, in which case no file is written; the run's folder is not writable; another
            process took over the run; or an error occurred on a rank other than 0.
        Interrupted: a signal or ``plan.after_epoch`` stopped the run. The run's result.json records the interrupt.
    """
    trainer = plan.settings.trainer
    devices = devices_wanted(trainer)
    if devices > 1 and num_processes() == 1:
        return find_outcome(plan) or _run_by_torchrun(plan, devices)
    with join_processes(accelerator=count_devices(trainer)[0]) as ranks:
        return (_rehearse if trainer.fast_dev_run else _run)(plan, ranks, console)


def _run_by_torchrun(plan: Plan, devices: int) -> RunState:
    require(plan.settings)
    if plan.overrides is None:
        raise KronaError(
            "A run on several devices needs a process for each device. Use train.py or torchrun to start it. A trial "
            "of a study cannot use several devices."
        )
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    outputs = f"hydra.run.dir={override_text(str(plan.outputs))}"
    command = [*start, *program("train")[1:], *plan.overrides, outputs]
    threads = str(max(1, cpu_count() // devices))
    # With the default log level, DDP's C++ code prints a warning in each process if the loss uses all parameters.
    variables = {"OMP_NUM_THREADS": threads, "TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ}
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
    known = plan.run_folder.state()
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
    """Claim the run's folder on rank 0, and train on all ranks, unless the run has ended or is running elsewhere."""
    start: tuple[Claim, Result] | RunState | None = None
    try:
        with ExitStack() as cleanup:
            try:
                start = _claim(plan, cleanup) if ranks.first else None
            finally:  # the other ranks wait here, also if the claim raises an error
                trains = ranks.gather(isinstance(start, tuple))[0]
            if isinstance(start, RunState):
                return start
            if not trains:  # only rank 0 knows the state
                return RunState(plan.run_id, "done", plan.folder)
            outcome = _train_other_rank(plan, ranks) if start is None else _train(plan, ranks, console, *start)
        gc.collect()  # a model and its trainer refer to each other, and a sweep would keep several models in memory
        return outcome
    except OSError as error:
        raise KronaError(
            f"The folder {plan.folder} cannot be used: {error.strerror or error}. Correct the cause, then run the "
            "same command to resume the run."
        ) from error


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


def _claim(plan: Plan, cleanup: ExitStack) -> tuple[Claim, Result] | RunState:
    """Check the settings, claim the run and write its first files. If the run must not start, return its state."""
    if (outcome := find_outcome(plan)) is not None:
        if outcome.state == "done already":
            plan.run_folder.clean()
        return outcome
    require(plan.settings)
    claim = plan.run_folder.claim()
    if claim is None:
        owner = describe(read_owner(plan.run_folder.claim_file))
        error = f"{plan.run_id} is already running in {owner}. Wait until it has ended."
        return RunState(plan.run_id, "running", plan.folder, error=error)
    cleanup.callback(claim.release)
    if (outcome := find_outcome(plan)) is not None:  # meanwhile another process has finished the run
        return outcome
    return claim, _begin(plan, claim)


def _begin(plan: Plan, claim: Claim) -> Result:
    """Remove the files of a failed attempt, and write the first files of the run. Return the new result.

    A resumed run keeps the recorded progress until its next epoch ends, and the Hydra files of its first start.
    """
    forget_signals()
    folder, checkpoint = plan.run_folder, plan.run_folder.checkpoint
    earlier = folder.state(ignore_claim=True)
    if plan.overwrites or earlier.state != "interrupted" or earlier.result is None:
        folder.remove_attempt(claim)
    else:
        plan.notes.extend(f"The run resumes with other code: {change}." for change in code_change(earlier.result))
    if checkpoint.is_file() and (damage := find_damage(checkpoint)) is not None:
        aside = claim.set_aside(checkpoint)
        plan.notes.append(
            f"{checkpoint.name} is damaged ({damage}) and was renamed to {aside.name}. The run starts from the "
            "beginning."
        )
    result = new_result(plan)
    if checkpoint.is_file() and earlier.result is not None:
        result.dev_curve, result.progress = earlier.result.dev_curve, earlier.result.progress
    write_result(plan.folder, result, claim.write)
    for name, text in plan.hydra_files.items():
        if not (file := folder.hydra_folder / name).exists():
            file.parent.mkdir(exist_ok=True)
            write_text(file, text, claim.write)
    return result


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


def new_result(plan: Plan) -> Result:
    """Return the result of a run that has not started, with its config and its provenance."""
    settings = plan.settings
    varied = {key: plan.mask(value) for key, value in plan.varied.items()}
    label, settings_text = method_label(settings.method.name), ", ".join(f"{key}={varied[key]}" for key in varied)
    kind, _ = count_devices(settings.trainer)
    device = torch.cuda.get_device_name() if kind == "cuda" else f"{kind} ({platform.machine()})"
    code = {"search": plan.search, "own_code": own_code(settings.config), "method_code": method_code(settings.config)}
    recorded: Any = {
        **provenance(device=device, threads=torch.get_num_threads()),
        "data_fingerprint": plan.data_fingerprint,
        "backbone_fingerprint": plan.backbone_fingerprint,
        "pretrained": settings.backbone.pretrained,
        **{key: value for key, value in code.items() if value},
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


def _train(plan: Plan, ranks: Ranks, console: Console, claim: Claim, result: Result) -> RunState:
    """Train on rank 0, and return the outcome. Record an error or an interrupt in result.json."""

    def is_done() -> bool:
        return plan.run_folder.state(ignore_claim=True).state == "done"

    def finish(status: Status, error: str | None) -> None:
        result.status, result.error = status, error
        result.dev = result.test = None
        result.provenance["finished"] = now()
        write_result(plan.folder, result, claim.write)

    with plan.run_folder.log.open("a", encoding="utf-8") as log:
        try:
            from krona.training.run import train  # imports transformers and Lightning, which are slow

            train(plan, result, ranks, console, claim=claim, log=log)
        except ClaimLostError:
            raise
        except (Interrupted, KeyboardInterrupt, SystemExit, BrokenPipeError) as stop:
            try:
                if not is_done():  # if the run is done, only a logger was still sending values
                    finish("interrupted", None)
            except Exception as error:  # the claim is lost, or the disk is full
                say(console, f"{plan.run_id}: the interrupt could not be recorded: {format_error(error)}")
            # Lightning ends a run with SystemExit if a SIGTERM arrived while Python could not raise an exception. A
            # pipe is broken if the reader of the output has ended, such as head.
            number = {SystemExit: signal.SIGTERM, BrokenPipeError: signal.SIGPIPE}.get(type(stop))
            raise Interrupted(*(stop.args if number is None else [number])) from None
        except Exception as error:
            trace, message = plan.mask(traceback.format_exc()), plan.mask(format_error(error))
            log.write(trace)
            if not is_done():
                lost = ranks.size > 1 and isinstance(error, RuntimeError)  # perhaps because another process has ended
                finish("interrupted" if lost else "failed", message)
                if not isinstance(error, KronaError):
                    if plan.settings.trainer.fast_dev_run:  # the log is in a temporary folder
                        say(console, trace)
                    else:
                        message += f" (the stack trace is in {plan.run_folder.log})"
                return RunState(plan.run_id, "failed", plan.folder, result, message)
            say(console, f"{plan.run_id}: the run is done, but then an error occurred: {message}")
    return RunState(plan.run_id, "done", plan.folder, result)


def _train_other_rank(plan: Plan, ranks: Ranks) -> RunState:
    """Train on a rank other than 0, which records nothing."""
    from krona.training.run import train

    try:
        train(plan, new_result(plan), ranks, Console(quiet=True))
    except (RuntimeError, OSError) as error:
        raise KronaError(f"Process {ranks.rank} of this run ended: {format_error(error)}") from error
    return RunState(plan.run_id, "done", plan.folder)


def format_error(error: Exception) -> str:
    """Return the message of a `KronaError`, or the class and first line of another exception."""
    if isinstance(error, KronaError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"
