"""A search space from its YAML: axes over keys of the command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from krona.config.compose import read_yaml
from krona.messages import KronaError
from krona.runs.studies import Axis, Choice


def read_space(path: Path, config: Mapping[str, Any]) -> tuple[Axis, ...]:
    """The axes of a YAML that ``config`` has keys for. Raises KronaError for a YAML without any, or a wrong axis."""
    axes = read_yaml(path).get("axes")
    if not isinstance(axes, dict) or not axes:
        raise KronaError(f"the search space {path} has no axes: sweeps/tune/default.yaml shows how they are written")
    read = [_read_axis(f"{path}, axis {key}", str(key), values) for key, values in axes.items()]
    kept = tuple(axis for axis in read if _has_key(config, axis.needs or axis.key))
    if not kept:
        raise KronaError(f"no axis of {path} applies to this run: it has {', '.join(axis.key for axis in read)}")
    return kept


def _read_axis(where: str, key: str, values: Any) -> Axis:
    known = {"low", "high", "log", "choices", "needs", "also"}
    if not isinstance(values, dict) or set(values) - known:
        raise KronaError(f"{where}: expected low and high, or choices; it has {values!r}")
    needs, also = str(values.get("needs", "")), str(values.get("also", ""))
    if "choices" in values:
        choices = values["choices"]
        if not isinstance(choices, list) or not choices or not all(isinstance(c, Choice) for c in choices):
            raise KronaError(f"{where}: choices={choices!r}: expected a list of numbers or names")
        return Axis(key, choices=tuple(choices), needs=needs, also=also)
    low: Any = values.get("low")
    high: Any = values.get("high")
    log = bool(values.get("log", False))
    if not (_is_number(low) and _is_number(high) and low < high and (low > 0 or not log)):
        raise KronaError(
            f"{where}: low={low!r}, high={high!r}: expected low < high{', above 0 with log' if log else ''}"
        )
    return Axis(key, low=float(low), high=float(high), log=log, needs=needs, also=also)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_key(config: Mapping[str, Any], key: str) -> bool:
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def describe_axes(axes: tuple[Axis, ...]) -> str:
    """The space in one line; equal lines are equal spaces."""
    return ", ".join(axis.words() for axis in axes)


def trial_overrides(axes: tuple[Axis, ...], params: Mapping[str, Any]) -> list[str]:
    """A trial's values as overrides of the command line."""
    used = [axis for axis in axes if axis.key in params]
    return [f"{axis.key}={params[axis.key]}" for axis in used] + [axis.also for axis in used if axis.also]
