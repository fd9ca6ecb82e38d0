"""The SLURM job of this process, and whether SLURM has requeued it after a time limit, a preemption or a node failure.

A requeued job starts with the same command again, and resumes the run that it had claimed (`krona.runs.holder` and
`krona.training.job` use this module).
"""

import os


def slurm_job() -> list[str | int] | None:
    """Return the id of this SLURM job and the number of its restarts, or None outside of SLURM."""
    number = os.environ.get("SLURM_JOB_ID")  # differs between the jobs of an array
    return None if number is None else [number, int(os.environ.get("SLURM_RESTART_COUNT", "0"))]


def is_requeued() -> bool:
    """Return whether SLURM has started this job before. The job then ignores ``overwrite=true``."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
