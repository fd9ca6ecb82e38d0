"""Read the search space of `krona tune` from YAML, and separate it from the settings that do not change in a study.

Each axis of the space is a config key and its possible values.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from krona.config.choices import is_overridden, read_yaml
from krona.messages import KronaError
from krona.runs.run_id import canonical
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


def trial_overrides(axes: tuple[Axis, ...], params: Mapping[str, Any]) -> list[str]:
    """Return the values of a trial as overrides for the command line."""
    used = [axis for axis in axes if axis.key in params]
    return [f"{axis.key}={params[axis.key]}" for axis in used] + [axis.also for axis in used if axis.also]


def split_typed(axes: Sequence[Axis], typed: Sequence[str]) -> tuple[tuple[Axis, ...], list[str]]:
    """Return the axes (keys) that no override in ``typed`` sets, and the overrides in ``typed`` that set an axis.

    The field ``also`` of an axis is an additional override. It is emptied if ``typed`` sets the key of this override.
    """

    def fixes(item: str, axis: Axis) -> bool:
        return is_overridden(axis.key, [item]) or is_overridden(axis.needs, [item])

    searched = [axis for axis in axes if not any(fixes(item, axis) for item in typed)]
    free = [replace(axis, also="") if is_overridden(axis.also.split("=")[0], typed) else axis for axis in searched]
    return tuple(free), [item for item in typed if any(fixes(item, axis) for axis in axes)]


def constant_settings(config: dict[str, Any], axes: Sequence[Axis]) -> dict[str, Any]:
    """Return the settings that influence the result of a run, without those that a study searches."""
    kept: dict[str, Any] = json.loads(json.dumps(canonical(config)))
    for axis in axes:
        *parents, last = (axis.needs or axis.key).split(".")
        part = kept
        for parent in parents:
            part = part.get(parent, {})
        part.pop(last, None)
    return kept


def fingerprint(config: dict[str, Any], constant: dict[str, Any]) -> str:
    """Return a text with the method, task, backbone and seed of a study, and a hash of its constant settings."""
    digest = hashlib.blake2b(json.dumps(constant, sort_keys=True).encode(), digest_size=4).hexdigest()
    words = [config[group]["name"] for group in ("method", "task", "backbone")]
    return f"{' '.join(words)} seed {config['seed']} [{digest}]"
