"""Read the search space of `krona tune` from YAML. Each axis of the space is a config key and its possible values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from krona.config.choices import read_yaml
from krona.messages import KronaError
from krona.runs.studies import Axis, Choice

KEYS = {"low", "high", "log", "choices", "needs", "also"}


def read_space(path: Path, config: Mapping[str, Any]) -> tuple[Axis, ...]:
    """Read the axes of a search space from a YAML file. Axes whose key the run's config lacks are left out.

    Raise `KronaError` if an axis is wrong, or if no axis applies to the config.
    """
    values = read_yaml(path).get("axes")
    if not isinstance(values, dict) or not values:
        raise KronaError(f"The search space {path} has no axes. sweeps/tune/default.yaml is an example.")
    axes = [_read_axis(f"{path}, axis {key}", str(key), axis) for key, axis in values.items()]
    kept = tuple(axis for axis in axes if _has_key(config, axis.needs or axis.key))
    if not kept:
        raise KronaError(
            f"The config of this run has none of the keys of {path}: {', '.join(axis.key for axis in axes)}"
        )
    return kept


def _read_axis(where: str, key: str, values: Any) -> Axis:
    if not isinstance(values, dict) or set(values) - KEYS:
        raise KronaError(f"{where} must have low and high, or choices. Its value is {values!r}.")
    needs, also = str(values.get("needs", "")), str(values.get("also", ""))
    if "choices" in values:
        choices = values["choices"]
        if not isinstance(choices, list) or not choices or not all(isinstance(c, Choice) for c in choices):
            raise KronaError(f"{where} has choices={choices!r}. choices must be a list of numbers or names.")
        return Axis(key, choices=tuple(choices), needs=needs, also=also)
    low: Any = values.get("low")
    high: Any = values.get("high")
    log = bool(values.get("log", False))
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (low, high))
    if not (numbers and low < high and (low > 0 or not log)):
        bound = " and low > 0 (because of log)" if log else ""
        raise KronaError(f"{where} has low={low!r} and high={high!r}. They must be numbers with low < high{bound}.")
    return Axis(key, low=float(low), high=float(high), log=log, needs=needs, also=also)


def _has_key(config: Mapping[str, Any], key: str) -> bool:
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def describe_axes(axes: tuple[Axis, ...]) -> str:
    """Return the search space as one line. Equal search spaces have equal lines."""
    return ", ".join(axis.words() for axis in axes)


def trial_overrides(axes: tuple[Axis, ...], params: Mapping[str, Any]) -> list[str]:
    """Return the values of a trial as overrides for the command line."""
    used = [axis for axis in axes if axis.key in params]
    return [f"{axis.key}={params[axis.key]}" for axis in used] + [axis.also for axis in used if axis.also]
