"""Check the settings of a launcher before a multirun starts."""

import importlib.util
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from krona.config.settings import NonNegative
from krona.config.validation import Problems, find_problems
from krona.messages import KronaError
from krona.sweeps.launchers import slurm
from krona.tasks.data_settings import MAX_COUNT, Positive


@dataclass(kw_only=True, config=ConfigDict(strict=True))
class LauncherSettings:
    """The settings of ``hydra.launcher`` whose types are checked. All other settings are passed to submitit."""

    n_jobs: Annotated[int, Ge(-1), Le(MAX_COUNT)] = 1
    signal_delay_s: NonNegative = 0
    max_num_timeout: NonNegative = 0
    gpus_per_node: NonNegative | None = None
    timeout_min: Positive = 1
    nodes: Positive = 1
    tasks_per_node: Positive = 1
    cpus_per_task: Positive = 1
    array_parallelism: Positive = 1
    mem_gb: Positive | None = None


def require(engine: str, settings: Mapping[str, Any]) -> None:
    """Raise `KronaError` if a setting is wrong, or if submitit or the cluster is not available."""
    problems = Problems(find_problems(LauncherSettings, "hydra.launcher.", settings))
    if settings.get("n_jobs") == 0:
        problems.append("hydra.launcher.n_jobs=0: no run would start. Use at least 1, or -1 for one run per core.")
    problems.raise_all()
    if engine.startswith("submitit") and importlib.util.find_spec("submitit") is None:
        raise KronaError(
            f"hydra/launcher={engine} needs submitit, which is not installed. Run: pip install -e '.[cluster]'"
        )
    if engine == "submitit_slurm":
        slurm.require(settings)
