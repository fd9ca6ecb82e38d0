"""Jobs that submitit starts, seen to their end: a job that ends without an outcome is told, whatever ended it."""

import contextlib
import io
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from krona.jobs.job import Job
from krona.messages import KronaError, amount
from krona.sweeps.launchers import slurm
from krona.sweeps.launchers.processes import Ended, shares
from krona.sweeps.launchers.task import Requeued, Task

POLL_S = 1.0
LOOK_S = 15.0  # between two questions to SLURM
SETTLE_S = 20.0  # an outcome's file may come later than the end of its job, on a shared folder


@dataclass
class Submitted:
    """A task and submitit's job for it."""

    task: Task
    job: Any
    missing_since: float | None = None

    def outcome(self, *, gone: bool, settle: float) -> Job | str | None:
        """The job's, or why it has none; None while it is on its way."""
        paths = self.job.paths
        if not paths.result_pickle.exists():
            if not gone:
                self.missing_since = None
                return None
            self.missing_since = self.missing_since or time.monotonic()
            if time.monotonic() - self.missing_since < settle:
                return None
            return f"job {self.job.job_id} ended without an outcome (killed?): {paths.stderr} has its last words"
        error = self.job.exception()
        if error is not None:
            return f"{_last_line(str(error))} ({paths.stderr})"
        job: Job = self.job.result()
        if job.state != "failed":
            shutil.rmtree(paths.folder, ignore_errors=True)  # its logs; the run has its own
        return job


def run_local(tasks: Sequence[Task], *, settings: Mapping[str, Any], ended: Ended) -> None:
    """Run all tasks on this machine, ``n_jobs`` at a time. An interrupt is passed on to them and waited for."""
    import submitit

    count, cores = shares(settings["n_jobs"], tasks)
    threads = os.environ.get("OMP_NUM_THREADS", cores)
    executor = submitit.LocalExecutor(settings["submitit_folder"], max_num_timeout=settings["max_num_timeout"])
    executor.update_parameters(
        timeout_min=settings["timeout_min"],
        signal_delay_s=settings["signal_delay_s"],
        gpus_per_node=settings["gpus_per_node"],
    )
    waiting, running = deque(tasks), list[Submitted]()
    try:
        while waiting or running:
            while waiting and len(running) < count:
                task = waiting.popleft()
                with submitit.helpers.environment_variables(OMP_NUM_THREADS=threads):
                    running.append(Submitted(task, executor.submit(Requeued(task))))
            time.sleep(POLL_S)
            for place in list(running):
                outcome = place.outcome(gone=place.job.done(), settle=POLL_S)
                if outcome is not None:
                    running.remove(place)
                    ended(place.task, outcome)
    except BaseException:
        for place in running:
            if not place.job.done():
                os.kill(int(place.job.job_id), signal.SIGTERM)  # passed on by submitit's controller
        while any(not place.job.done() for place in running):
            time.sleep(POLL_S / 10)
        raise


def run_slurm(tasks: Sequence[Task], *, settings: Mapping[str, Any], typed: Collection[str], ended: Ended) -> None:
    """Submit all tasks, an array for those with the same needs, and wait. An interrupt leaves them in the queue."""
    slurm.require(settings)
    running = _submit(tasks, settings, typed)
    asked, present = time.monotonic(), {place.job.job_id for place in running}
    try:
        while running:
            time.sleep(POLL_S)
            if time.monotonic() - asked > LOOK_S:
                asked, answer = time.monotonic(), slurm.queued()
                present = present if answer is None else answer
            for place in list(running):
                outcome = place.outcome(gone=place.job.job_id not in present, settle=SETTLE_S)
                if outcome is not None:
                    running.remove(place)
                    ended(place.task, outcome)
    except BaseException:
        arrays = " ".join(sorted({place.job.job_id.split("_")[0] for place in running}))
        print(
            f"left in SLURM's queue: {amount(len(running), 'run')} (squeue --me shows, scancel {arrays} ends "
            "what is left)",
            file=sys.stderr,
        )
        raise


def _submit(tasks: Sequence[Task], settings: Mapping[str, Any], typed: Collection[str]) -> list[Submitted]:
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    alike: dict[str, tuple[dict[str, Any], list[Task]]] = {}
    for task in tasks:
        needs = slurm.needs(settings, task.overrides, dict(task.config.hydra.runtime.choices), typed)
        alike.setdefault(repr(needs), (needs, []))[1].append(task)
    places: list[Submitted] = []
    for needs, group in alike.values():
        executor = submitit.SlurmExecutor(settings["submitit_folder"], max_num_timeout=settings["max_num_timeout"])
        executor.update_parameters(**slurm.sbatch_parameters(needs))
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # sbatch's words come in the error too
                jobs = executor.submit_array([Requeued(task) for task in group])
        except (FailedJobError, FailedSubmissionError) as error:
            for place in places:
                place.job.cancel(check=False)
            raise KronaError(slurm.refusal(str(error))) from error
        places += [Submitted(task, job.task(0)) for task, job in zip(group, jobs, strict=True)]
    return places


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not set(line.strip()) <= {"-"}]
    return next((line for line in reversed(lines) if "Error" in line or ":" in line), lines[-1] if lines else "failed")
