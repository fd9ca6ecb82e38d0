"""Read from the environment how many processes torchrun or srun started for a run, and which of them this one is."""

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
