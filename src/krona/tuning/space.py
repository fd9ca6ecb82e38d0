"""A search space from its YAML: axes over keys of the command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from krona.config.compose import read_yaml
from krona.messages import KronaError
from krona.outputs.studies import Axis, Choice


def read_space(path: Path, config: Mapping[str, Any]) -> tuple[Axis, ...]:
    """The axes of a YAML that ``config`` has keys for. What can't be one is said in one message."""
    axes = read_yaml(path).get("axes")
    if not isinstance(axes, dict) or not axes:
        raise KronaError(f"the search space {path} has no axes: sweeps/tune/default.yaml shows how they are written")
    read = [_axis(path, str(key), values) for key, values in axes.items()]
    kept = tuple(axis for axis in read if _has(config, axis.needs or axis.key))
    if not kept:
        raise KronaError(f"no axis of {path} means something here: it has {', '.join(axis.key for axis in read)}")
    return kept


def _axis(path: Path, key: str, values: Any) -> Axis:
    where = f"{path}, axis {key}"
    known = {"low", "high", "log", "choices", "needs", "also"}
    if not isinstance(values, dict) or set(values) - known:
        raise KronaError(f"{where}: expected low and high, or choices; it has {values!r}")
    needs, also = (str(values.get(key, "")) for key in ("needs", "also"))
    if "choices" in values:
        choices = values["choices"]
        if not isinstance(choices, list) or not choices or not all(isinstance(c, Choice) for c in choices):
            raise KronaError(f"{where}: choices={choices!r}: expected a list of numbers or names")
        return Axis(key, choices=tuple(choices), needs=needs, also=also)
    low, high, log = _number(values.get("low")), _number(values.get("high")), bool(values.get("log", False))
    if low is None or high is None or low >= high or (log and low <= 0):
        bounds = f"low={values.get('low')!r}, high={values.get('high')!r}"
        raise KronaError(f"{where}: {bounds}: expected low < high{', above 0 with log' if log else ''}")
    return Axis(key, low=low, high=high, log=log, needs=needs, also=also)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _has(config: Mapping[str, Any], key: str) -> bool:
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def in_words(axes: tuple[Axis, ...]) -> str:
    """The space in one line: two of the same line are the same."""
    return ", ".join(axis.words() for axis in axes)


def overrides(axes: tuple[Axis, ...], params: Mapping[str, Any]) -> list[str]:
    """A trial's values as overrides of the command line."""
    used = [axis for axis in axes if axis.key in params]
    return [f"{axis.key}={params[axis.key]}" for axis in used] + [axis.also for axis in used if axis.also]
