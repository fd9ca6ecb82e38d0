"""Jobs started by submitit and followed to their end, whatever ends them."""

import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from krona.files import remove_below
from krona.jobs.job import Job
from krona.messages import KronaError, amount
from krona.sweeps.launchers import slurm
from krona.sweeps.launchers.pool import Ended, Started, run_pool, shares
from krona.sweeps.launchers.sweep_job import Requeued, SweepJob

POLL_S = 1.0
ASK_S = 15.0  # between two questions to SLURM
SETTLE_S = 20.0  # on a shared folder, an outcome's file may appear after its job has ended


@dataclass(eq=False)
class Submitted:
    """A job of the sweep and submitit's handle on it."""

    job: SweepJob
    handle: Any
    settle_s: float = POLL_S
    missing_since: float | None = None

    def outcome(self, *, gone: bool | None = None) -> Job | str | None:
        """The job's outcome, or why it has none; None while it is queued or running.

        ``gone``: whether it has ended; None: submitit says.
        """
        paths = self.handle.paths
        if not paths.result_pickle.exists():
            if not (self.handle.done() if gone is None else gone):
                self.missing_since = None
                return None
            self.missing_since = self.missing_since or time.monotonic()
            if time.monotonic() - self.missing_since < self.settle_s:
                return None
            return f"job {self.handle.job_id} ended without an outcome (killed?): {paths.stderr} has its last words"
        error = self.handle.exception()
        if error is not None:
            return f"{_last_line(str(error))} ({paths.stderr})"
        job: Job = self.handle.result()
        if job.state != "failed":
            remove_below(paths.folder.parents[1], paths.folder)  # its logs; the run has its own
        return job

    def terminate(self) -> None:
        if not self.handle.done():
            os.kill(int(self.handle.job_id), signal.SIGTERM)  # forwarded by submitit's controller


def run_local(jobs: Sequence[SweepJob], *, settings: Mapping[str, Any], started: Started, ended: Ended) -> None:
    """Run all jobs on this machine, ``n_jobs`` at a time."""
    import submitit

    count, cores = shares(settings["n_jobs"], jobs)
    threads = os.environ.get("OMP_NUM_THREADS", cores)
    executor = submitit.LocalExecutor(settings["submitit_folder"], max_num_timeout=settings["max_num_timeout"])
    executor.update_parameters(**{name: settings[name] for name in ("timeout_min", "signal_delay_s", "gpus_per_node")})

    def start(job: SweepJob) -> Submitted:
        with submitit.helpers.environment_variables(OMP_NUM_THREADS=threads):
            return Submitted(job, executor.submit(Requeued(job)))

    run_pool(jobs, count=count, start=start, started=started, ended=ended, poll_s=POLL_S)


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
            for one in list(running):
                if (outcome := one.outcome(gone=one.handle.job_id not in queued)) is not None:
                    running.remove(one)
                    ended(one.job, outcome)
    except BaseException:
        arrays = " ".join(sorted({one.handle.job_id.split("_")[0] for one in running}))
        print(
            f"left in SLURM's queue: {amount(len(running), 'run')} (squeue --me shows, scancel {arrays} ends "
            "what is left)",
            file=sys.stderr,
        )
        raise


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
        submitted += [Submitted(job, handle.task(0), SETTLE_S) for job, handle in zip(group, handles, strict=True)]
    return submitted


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not set(line.strip()) <= {"-"}]
    return next((line for line in reversed(lines) if "Error" in line or ":" in line), lines[-1] if lines else "failed")
