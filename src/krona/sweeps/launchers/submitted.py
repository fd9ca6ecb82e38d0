"""Jobs started by submitit and followed to their end, whatever ends them."""

import contextlib
import io
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from krona.files import remove_below
from krona.jobs.job import Job
from krona.messages import KronaError, amount
from krona.sweeps.launchers import slurm
from krona.sweeps.launchers.processes import Ended, Started, shares
from krona.sweeps.launchers.sweep_job import Requeued, SweepJob

POLL_S = 1.0
ASK_S = 15.0  # between two questions to SLURM
SETTLE_S = 20.0  # on a shared folder, an outcome's file may appear after its job has ended


@dataclass(eq=False)
class Submitted:
    """A job of the sweep and submitit's handle on it."""

    job: SweepJob
    handle: Any
    missing_since: float | None = None

    def outcome(self, *, gone: bool, settle: float) -> Job | str | None:
        """The job's outcome, or why it has none; None while it is queued or running."""
        paths = self.handle.paths
        if not paths.result_pickle.exists():
            if not gone:
                self.missing_since = None
                return None
            self.missing_since = self.missing_since or time.monotonic()
            if time.monotonic() - self.missing_since < settle:
                return None
            return f"job {self.handle.job_id} ended without an outcome (killed?): {paths.stderr} has its last words"
        error = self.handle.exception()
        if error is not None:
            return f"{_last_line(str(error))} ({paths.stderr})"
        job: Job = self.handle.result()
        if job.state != "failed":
            remove_below(paths.folder.parents[1], paths.folder)  # its logs; the run has its own
        return job


def run_local(jobs: Sequence[SweepJob], *, settings: Mapping[str, Any], started: Started, ended: Ended) -> None:
    """Run all jobs on this machine, ``n_jobs`` at a time. An interrupt is forwarded to them and waited for."""
    import submitit

    count, cores = shares(settings["n_jobs"], jobs)
    threads = os.environ.get("OMP_NUM_THREADS", cores)
    executor = submitit.LocalExecutor(settings["submitit_folder"], max_num_timeout=settings["max_num_timeout"])
    executor.update_parameters(**{name: settings[name] for name in ("timeout_min", "signal_delay_s", "gpus_per_node")})
    waiting, running = deque(jobs), list[Submitted]()
    try:
        while waiting or running:
            while waiting and len(running) < count:
                started(job := waiting.popleft())
                with submitit.helpers.environment_variables(OMP_NUM_THREADS=threads):
                    running.append(Submitted(job, executor.submit(Requeued(job))))
            time.sleep(POLL_S)
            _collect(running, [one for one in running if one.handle.done()], settle=POLL_S, ended=ended)
    except BaseException:
        for one in running:
            if not one.handle.done():
                os.kill(int(one.handle.job_id), signal.SIGTERM)  # forwarded by submitit's controller
        while any(not one.handle.done() for one in running):
            time.sleep(POLL_S / 10)
        raise


def run_slurm(jobs: Sequence[SweepJob], *, settings: Mapping[str, Any], typed: Collection[str], ended: Ended) -> None:
    """Submit all jobs, an array for those with the same needs, and wait. An interrupt leaves them in the queue."""
    running = _submit(jobs, settings, typed)
    asked, queued = time.monotonic(), {one.handle.job_id for one in running}
    try:
        while running:
            time.sleep(POLL_S)
            if time.monotonic() - asked > ASK_S:
                asked, answer = time.monotonic(), slurm.queued()
                queued = queued if answer is None else answer
            gone = [one for one in running if one.handle.job_id not in queued]
            _collect(running, gone, settle=SETTLE_S, ended=ended)
    except BaseException:
        arrays = " ".join(sorted({one.handle.job_id.split("_")[0] for one in running}))
        print(
            f"left in SLURM's queue: {amount(len(running), 'run')} (squeue --me shows, scancel {arrays} ends "
            "what is left)",
            file=sys.stderr,
        )
        raise


def _collect(running: list[Submitted], gone: Collection[Submitted], *, settle: float, ended: Ended) -> None:
    """Remove the jobs that have an outcome, or are gone and have none."""
    for one in list(running):
        outcome = one.outcome(gone=one in gone, settle=settle)
        if outcome is not None:
            running.remove(one)
            ended(one.job, outcome)


def _submit(jobs: Sequence[SweepJob], settings: Mapping[str, Any], typed: Collection[str]) -> list[Submitted]:
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    alike: dict[str, tuple[dict[str, Any], list[SweepJob]]] = {}
    for job in jobs:
        needs = slurm.needs(settings, job.overrides, dict(job.config.hydra.runtime.choices), typed)
        alike.setdefault(repr(needs), (needs, []))[1].append(job)
    submitted: list[Submitted] = []
    for needs, group in alike.values():
        executor = submitit.SlurmExecutor(settings["submitit_folder"], max_num_timeout=settings["max_num_timeout"])
        executor.update_parameters(**slurm.sbatch_parameters(needs))
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # the error has sbatch's words too
                handles = executor.submit_array([Requeued(job) for job in group])
        except (FailedJobError, FailedSubmissionError) as error:
            for one in submitted:
                one.handle.cancel(check=False)
            raise KronaError(slurm.refusal(str(error))) from error
        submitted += [Submitted(job, handle.task(0)) for job, handle in zip(group, handles, strict=True)]
    return submitted


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not set(line.strip()) <= {"-"}]
    return next((line for line in reversed(lines) if "Error" in line or ":" in line), lines[-1] if lines else "failed")
