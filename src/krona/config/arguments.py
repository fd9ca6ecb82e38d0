"""Checks of the arguments that a config gives to a class or function, by its signature."""

import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from krona.config.habits import instead_of
from krona.config.targets import find_inner
from krona.config.types import expected
from krona.messages import KronaError, did_you_mean

HYDRAS = ("_target_", "_args_", "_partial_", "_convert_", "_recursive_")  # keys of hydra.utils.instantiate


def unknown(prefix: str, values: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    wrong = [key for key in values if key not in known]
    near = {key: instead_of(f"{prefix}{key}") or did_you_mean(key, sorted(known)) for key in wrong}
    return [f"{prefix}{key} is no setting: {near[key]}" for key in wrong]


def mismatches(hints: Mapping[str, Any], prefix: str, values: Mapping[str, Any]) -> list[str]:
    return [
        f"{prefix}{key}={value!r}: expected {words}"
        + (f"; {own}" if (own := instead_of(f"{prefix}{key}", value)) else "")
        for key, value in values.items()
        if key in hints and (words := expected(value, hints[key])) is not None
    ]


def argument_problems(function: Callable[..., Any], prefix: str, values: Mapping[str, Any]) -> list[str]:
    """Arguments that do not fit the annotations of a function or of a class's constructor, where it has any."""
    try:
        hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except (NameError, TypeError):
        return []
    return mismatches(hints, prefix, values)


def object_problems(cls: Any, where: str, values: Mapping[str, Any], *, own: bool) -> list[str]:
    """A node with ``_target_``, by the signature of its class."""
    arguments = {key: value for key, value in values.items() if key not in HYDRAS}
    inner = {key: value for key, value in arguments.items() if isinstance(value, Mapping) and "_target_" in value}
    problems = []
    for key, value in inner.items():
        found = find_inner(value["_target_"], f"{where}.{key}._target_", own=own)
        problems += object_problems(found, f"{where}.{key}", value, own=own)
    if not takes_any(cls):
        problems += unknown(f"{where}.", arguments, parameters(cls))
    if not values.get("_partial_"):
        first = list(parameters(cls))[: len(values.get("_args_", ()))]
        problems += missing(f"{where}.", arguments, parameters(cls), filled_in=first)
    plain = {key: value for key, value in arguments.items() if key not in inner}
    return problems + argument_problems(cls, f"{where}.", plain)


def missing(
    prefix: str,
    arguments: Mapping[str, Any],
    known: Mapping[str, inspect.Parameter],
    *,
    filled_in: Collection[str] = (),
) -> list[str]:
    """Arguments without a default that are not given."""
    lacking = [name for name, one in known.items() if one.default is one.empty and name not in {*arguments, *filled_in}]
    return [f"{prefix}{name} is missing" for name in lacking]


def takes_any(function: Any) -> bool:
    return any(one.kind is one.VAR_KEYWORD for one in inspect.signature(function).parameters.values())


def parameters(function: Any, *, without: Sequence[str] = ()) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters.items()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: one for name, one in parameters if one.kind not in variadic and name not in without}


def raise_all(problems: Sequence[str]) -> None:
    if problems:
        raise KronaError("\n".join(problems))
