"""Read from the environment how torchrun, srun or a SLURM job started this process.

SLURM requeues a job after a time limit, a preemption or a node failure. The job then starts again with the same
command, and resumes its run.
"""

import os

from krona.messages import KronaError


def num_processes() -> int:
    """Return the number of processes that torchrun or srun started for this run."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))  # only srun sets this variable, unlike SLURM_NTASKS


def my_rank() -> int:
    """Return the rank of this process in its run."""
    if num_processes() == 1:
        return 0
    return int(os.environ["RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "SLURM_PROCID"])


def require_one_launch() -> None:
    """Check that torchrun or srun did not start a multirun (``-m``) as several processes.

    Raises:
        KronaError: this process is one of several processes of a multirun.
    """
    if num_processes() > 1:
        raise KronaError(
            f"torchrun or srun started {num_processes()} processes of this sweep (-m), and each process would run the "
            "whole sweep. Start the sweep without torchrun and srun. To train each run on N devices, use "
            "trainer.devices=N."
        )


def slurm_job() -> list[str | int] | None:
    """Return the id of this SLURM job and the number of its restarts, or None outside of SLURM."""
    number = os.environ.get("SLURM_JOB_ID")  # differs between the jobs of an array
    return None if number is None else [number, int(os.environ.get("SLURM_RESTART_COUNT", "0"))]


def is_requeued() -> bool:
    """Return whether SLURM has requeued this job. A requeued job ignores ``overwrite=true``."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
