"""Identify the SLURM job of this process, and detect whether the job was requeued.

SLURM requeues a job after a time limit, a preemption or a node failure. The job then starts again with the same
command, and resumes its run. `krona.runs.claim` and `krona.training.plan` use this module.
"""

import os


def slurm_job() -> list[str | int] | None:
    """Return the id of this SLURM job and the number of its restarts, or None outside of SLURM."""
    number = os.environ.get("SLURM_JOB_ID")  # differs between the jobs of an array
    return None if number is None else [number, int(os.environ.get("SLURM_RESTART_COUNT", "0"))]


def is_requeued() -> bool:
    """Return whether SLURM has requeued this job. A requeued job ignores ``overwrite=true``."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
