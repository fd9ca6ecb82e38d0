"""Functions for SLURM: check that it is available, name the resources of a job, and read the queue."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from krona.messages import KronaError, did_you_mean

NOT_FOR_SBATCH = ("submitit_folder", "max_num_timeout")
RENAMED = {"timeout_min": "time", "mem_gb": "mem", "tasks_per_node": "ntasks_per_node"}
THREADS = "export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}"  # one thread per core of the job


def require(settings: Mapping[str, Any]) -> None:
    """Raise `KronaError` if this machine cannot submit jobs, or if the partition does not exist."""
    missing = [command for command in ("sbatch", "srun", "squeue") if shutil.which(command) is None]
    if missing:
        raise KronaError(
            f"hydra/launcher=submitit_slurm: {' and '.join(missing)} could not be found on this machine. Start the "
            "sweep on the cluster's login node, or use hydra/launcher=submitit_local on this machine."
        )
    if settings.get("partition") is None:
        return
    known = list(dict.fromkeys(_run("sinfo", "--noheader", "--format=%R").split()))
    for name in str(settings["partition"]).split(","):
        if name not in known:
            raise KronaError(
                f"hydra.launcher.partition={name} is not a partition of this cluster: {did_you_mean(name, known)}"
            )


def sbatch_parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the resources of a job under the names that submitit expects. None, zero and empty values are left out."""
    asked = {name: value for name, value in settings.items() if name not in NOT_FOR_SBATCH}
    parameters = {RENAMED.get(name, name): value for name, value in asked.items() if value not in (None, 0, {}, [])}
    if "mem" in parameters:
        parameters["mem"] = f"{parameters['mem']}GB"
    parameters["job_name"] = "krona"
    parameters["setup"] = [*parameters.get("setup", []), THREADS]
    return parameters


def queued_jobs() -> set[str] | None:
    """Return the ids of the user's jobs in SLURM's queue, such as ``12_3``, or None if SLURM does not respond."""
    try:
        return set(_run("squeue", "--me", "--array", "--noheader", "--format=%i").split())
    except KronaError:
        return None


def format_refusal(output: str) -> str:
    """Return a message with sbatch's reason for rejecting a job and the settings that the user can change."""
    lines = [re.sub(r"^sbatch: (error: )?", "", line.strip()) for line in output.splitlines() if line.strip()]
    reason = "; ".join(dict.fromkeys(lines)) or "sbatch failed without a message"
    return f"SLURM rejected the job: {reason}. Change hydra.launcher.gpus_per_node, mem_gb or timeout_min."


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        why = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[:1]
        raise KronaError(f"The command {' '.join(command)} of SLURM failed: {' '.join(why)}") from error
    return done.stdout
