"""A launcher's settings, checked before a multirun writes anything."""

import importlib.util
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Le

from krona.config.arguments import mismatches
from krona.config.settings import NonNegative, Positive
from krona.config.types import MOST
from krona.messages import KronaError
from krona.sweeps.launchers import slurm

HINTS: Mapping[str, Any] = {
    "n_jobs": Annotated[int, Ge(-1), Le(MOST)],
    "signal_delay_s": NonNegative,
    "max_num_timeout": NonNegative,
    "gpus_per_node": NonNegative | None,
    **dict.fromkeys(("timeout_min", "nodes", "tasks_per_node", "cpus_per_task", "array_parallelism"), Positive),
    "mem_gb": Positive | None,
}


def require(engine: str, settings: Mapping[str, Any]) -> None:
    """Raise KronaError for a wrong setting, a missing package, and a cluster that isn't there."""
    problems = mismatches(HINTS, "hydra.launcher.", settings)
    if settings.get("n_jobs") == 0:
        problems.append("hydra.launcher.n_jobs=0: no run would start; at least 1, or -1 for one a core")
    if problems:
        raise KronaError("\n".join(problems))
    require_package(engine)
    if engine == "submitit_slurm":
        slurm.require(settings)


def require_package(engine: str) -> None:
    if engine.startswith("submitit") and importlib.util.find_spec("submitit") is None:
        raise KronaError(f"hydra/launcher={engine} needs submitit, which is not installed: pip install -e '.[cluster]'")
