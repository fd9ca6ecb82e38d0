"""Run one job: in this process, with a process for each device, or as a rehearsal.

`krona.training.claimed_run` reserves the run's folder and records the outcome. `krona.training.run` trains.
"""

import gc
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from krona.formatting import override_text, say
from krona.messages import KronaError
from krona.runs.folder import RunState
from krona.runs.interrupts import PARENT
from krona.runs.launcher_environment import num_processes
from krona.training.claimed_run import claimed, find_outcome
from krona.training.devices import Ranks, count_devices, devices_wanted, join_processes, torchrun
from krona.training.plan import Plan
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
    with claimed(plan, ranks, console) as run:
        if isinstance(run, RunState):  # done, failed or running elsewhere
            return run
        from krona.training.run import train  # imports transformers and Lightning, which are slow

        train(run)
    gc.collect()  # a model and its trainer refer to each other, and a sweep would keep several models in memory
    assert run.outcome is not None
    return run.outcome
