"""Start jobs with submitit, on this machine or on a SLURM cluster, and wait until they have ended."""

import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from krona.messages import KronaError, amount
from krona.safe_files import remove_below
from krona.sweeps.launchers import slurm
from krona.sweeps.launchers.sweep_job import Requeued, SweepJob
from krona.training.jobs.job import Job

POLL_S = 1.0
QUEUE_POLL_S = 15.0
SETTLE_S = 20.0  # seconds to wait for the file with an outcome, which a shared file system may show with a delay


@dataclass(eq=False)
class Submitted:
    """A submitted job of a sweep."""

    job: SweepJob
    handle: Any  # submitit's object for the job
    settle_s: float = POLL_S  # seconds to wait for the file with the outcome after the job has ended
    missing_since: float | None = None  # when the file was first found to be missing

    def outcome(self, *, ended: bool | None = None) -> Job | str | None:
        """Return the outcome of the job, or why it has no outcome, or None while the job is waiting or running.

        ``ended`` is whether the job has ended; None: ask submitit.
        """
        paths = self.handle.paths
        if not paths.result_pickle.exists():
            if not (self.handle.done() if ended is None else ended):
                self.missing_since = None
                return None
            self.missing_since = self.missing_since or time.monotonic()
            if time.monotonic() - self.missing_since < self.settle_s:
                return None
            return (
                f"job {self.handle.job_id} ended without an outcome. Perhaps it was killed. Its last output is in "
                f"{paths.stderr}"
            )
        error = self.handle.exception()
        if error is not None:
            return f"{_error_line(str(error))} ({paths.stderr})"
        job: Job = self.handle.result()
        if job.state != "failed":
            remove_below(paths.folder.parents[1], paths.folder)  # submitit's logs, which duplicate the run's
        return job

    def terminate(self) -> None:
        if not self.handle.done():
            os.kill(int(self.handle.job_id), signal.SIGTERM)  # submitit forwards it to the job


def local_starter(settings: Mapping[str, Any], *, cores: int) -> Callable[[SweepJob], Submitted]:
    """Return a function that starts a job in a process on this machine, which uses a number of CPU cores."""
    import submitit

    threads = os.environ.get("OMP_NUM_THREADS", cores)
    executor = submitit.LocalExecutor(settings["submitit_folder"], max_num_timeout=settings["max_num_timeout"])
    executor.update_parameters(**{name: settings[name] for name in ("timeout_min", "signal_delay_s", "gpus_per_node")})

    def start(job: SweepJob) -> Submitted:
        with submitit.helpers.environment_variables(OMP_NUM_THREADS=threads):
            return Submitted(job, executor.submit(Requeued(job)))

    return start


def run_slurm(
    jobs: Sequence[SweepJob], *, settings: Mapping[str, Any], ended: Callable[[SweepJob, Job | str], None]
) -> None:
    """Submit all jobs to SLURM as one array, and wait until they have ended.

    After an interrupt, the jobs remain in SLURM's queue.
    """
    running = _submit(jobs, settings)
    asked, queued = time.monotonic(), {one.handle.job_id for one in running}
    try:
        while running:
            time.sleep(POLL_S)
            if time.monotonic() - asked > QUEUE_POLL_S:
                asked, answer = time.monotonic(), slurm.queued_jobs()
                queued = queued if answer is None else answer
            for one in list(running):
                if (outcome := one.outcome(ended=one.handle.job_id not in queued)) is not None:
                    running.remove(one)
                    ended(one.job, outcome)
    except BaseException:
        arrays = " ".join(sorted({one.handle.job_id.split("_")[0] for one in running}))
        print(
            f"left in SLURM's queue: {amount(len(running), 'run')}. List them with squeue --me, or end them with "
            f"scancel {arrays}",
            file=sys.stderr,
        )
        raise


def _submit(jobs: Sequence[SweepJob], settings: Mapping[str, Any]) -> list[Submitted]:
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = submitit.SlurmExecutor(settings["submitit_folder"], max_num_timeout=settings["max_num_timeout"])
    executor.update_parameters(**slurm.sbatch_parameters(settings))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the exception contains sbatch's output too
            handles = executor.submit_array([Requeued(job) for job in jobs])
    except (FailedJobError, FailedSubmissionError) as error:
        raise KronaError(slurm.format_refusal(str(error))) from error
    return [Submitted(job, handle.task(0), SETTLE_S) for job, handle in zip(jobs, handles, strict=True)]


def _error_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not set(line.strip()) <= {"-"}]
    return next((line for line in reversed(lines) if "Error" in line or ":" in line), lines[-1] if lines else "failed")
