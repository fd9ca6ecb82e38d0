"""Expand the overrides of a multirun into its jobs, as Hydra's own sweeper does."""

from collections.abc import Mapping, Sequence
from itertools import islice
from math import prod
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from krona.config.compose import compose_with_hydra, parser
from krona.config.errors import translate_errors
from krona.config.hydra_internals import split_jobs
from krona.messages import KronaError

MAX_RUNS = 10_000  # a sweep of more runs is most likely a mistake


@translate_errors()
def expand(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each job of ``krona train -m OVERRIDES``. Call this inside `hydra_session` only."""
    parsed = parser().parse_overrides(list(overrides))
    single = [str(override.input_line) for override in parsed if not override.is_sweep_override()]
    return list_jobs(read_axes(single), overrides)


def read_axes(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the axes in the sweep's YAML file (values by key). Call this inside `hydra_session` only."""
    return sweeper_params(compose_with_hydra("config", overrides))


def sweeper_params(cfg: DictConfig) -> dict[str, Any]:
    """Return ``hydra.sweeper.params`` of a composed config as plain values."""
    node = cfg.hydra.sweeper.params
    params: Any = OmegaConf.to_container(node, resolve=True) if node else {}
    return {str(key): value for key, value in params.items()}


def list_jobs(params: Mapping[str, Any], overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each job of a multirun, in the order of Hydra's own sweeper.

    ``params`` are the axes of a sweep's YAML, which are placed before the overrides.

    Raises:
        KronaError: the sweep has more than `MAX_RUNS` runs, or the values of an axis are invalid or missing.
    """
    parsed = parser().parse_overrides([f"{key}={value}" for key, value in params.items()] + list(overrides))
    if prod(_count_values(override) for override in parsed if override.is_sweep_override()) > MAX_RUNS:
        raise KronaError(f"The sweep exceeds the limit of {MAX_RUNS:,} runs. Reduce the number of values.")
    return split_jobs(parsed)


def _count_values(axis: Override) -> int:
    """Return the number of values of an axis, at most `MAX_RUNS` + 1."""
    line = str(axis.input_line)
    try:
        count = sum(1 for _ in islice(axis.sweep_iterator(), MAX_RUNS + 1))
    except (ValueError, HydraException) as error:
        raise KronaError(
            f"{line} is not valid: {error}. Write single values, such as {axis.key_or_group}=1,2,3, or "
            "range(START,STOP,STEP), which counts from START and ends before STOP."
        ) from error
    if count == 0:
        raise KronaError(
            f"{line} has no values, so the sweep has no runs. glob(…) matches the names of a group's choices, and "
            "range(0,3) is 0, 1, 2."
        )
    return count
