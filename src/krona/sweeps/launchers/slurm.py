"""SLURM: a job's resources by backbone and task, and the cluster's partitions and queue."""

import re
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from krona.messages import KronaError, did_you_mean

OURS = ("by_backbone", "by_task", "submitit_folder", "max_num_timeout")  # settings that sbatch does not know
THREADS = "export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}"  # as many as the job has cores
RENAMED = {"timeout_min": "time", "mem_gb": "mem", "tasks_per_node": "ntasks_per_node"}


def require(settings: Mapping[str, Any]) -> None:
    """Raise if this machine can't submit jobs or the partition does not exist."""
    missing = [command for command in ("sbatch", "srun", "squeue") if shutil.which(command) is None]
    if missing:
        raise KronaError(
            f"hydra/launcher=submitit_slurm: this machine has no {' and no '.join(missing)}; start it where SLURM's "
            "commands are, on the cluster's login node; hydra/launcher=submitit_local runs here"
        )
    partition = settings.get("partition")
    if partition is None:
        return
    there = list(dict.fromkeys(_asked("sinfo", "--noheader", "--format=%R").split()))
    wrong = [name for name in str(partition).split(",") if name not in there]
    if wrong:
        raise KronaError(
            f"hydra.launcher.partition={wrong[0]}: this cluster has no such partition; {did_you_mean(wrong[0], there)}"
        )


def needs(
    settings: Mapping[str, Any], overrides: Sequence[str], choices: Mapping[str, Any], typed: Collection[str]
) -> dict[str, Any]:
    """A job's resources: the settings, overridden by its backbone's and its task's, except for those ``typed``.

    If backbone and task both give a number, the larger one counts.
    """
    chosen = {**choices, **dict(item.lstrip("+").split("=", 1) for item in overrides if "=" in item)}
    special: dict[str, Any] = {}
    for table, group in (("by_backbone", "backbone"), ("by_task", "task")):
        for name, value in (settings[table].get(str(chosen.get(group))) or {}).items():
            special[name] = max(value, special[name]) if name in special else value
    own = {name: value for name, value in special.items() if name not in typed}
    return {name: value for name, value in {**settings, **own}.items() if name not in OURS}


def sbatch_parameters(needs: Mapping[str, Any]) -> dict[str, Any]:
    """A job's needs under submitit's names; null, zero and empty values are left to the cluster."""
    parameters = {RENAMED.get(name, name): value for name, value in needs.items() if value not in (None, 0, {}, [])}
    if "mem" in parameters:
        parameters["mem"] = f"{parameters['mem']}GB"
    parameters["job_name"] = "krona"
    parameters["setup"] = [*parameters.get("setup", []), THREADS]
    return parameters


def queued() -> set[str] | None:
    """The user's jobs that have not ended, each of an array (``12_3``); None if SLURM does not answer."""
    try:
        return set(_asked("squeue", "--me", "--array", "--noheader", "--format=%i").split()) - {""}
    except KronaError:
        return None


def refusal(words: str) -> str:
    """Why sbatch rejected a job, in its own words, and the settings to change."""
    lines = [re.sub(r"^sbatch: (error: )?", "", line.strip()) for line in words.splitlines() if line.strip()]
    text = "; ".join(dict.fromkeys(lines)) or "sbatch failed without a message"
    return f"SLURM takes no job: {text}. hydra.launcher.gpus_per_node, mem_gb, timeout_min … say what is asked for"


def _asked(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KronaError(f"SLURM does not answer: {' '.join(command)}: {error}") from error
    if done.returncode != 0:
        raise KronaError(f"SLURM does not answer: {' '.join(command)}: {done.stderr.strip().splitlines()[0:1]}")
    return done.stdout
