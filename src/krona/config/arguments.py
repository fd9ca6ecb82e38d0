"""Checks of the arguments that a config gives to a class or function, and the import of what ``_target_`` names."""

import importlib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from krona.config.habits import instead_of
from krona.config.types import expected
from krona.messages import KronaError, did_you_mean


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


def locate(path: Any, where: str) -> Any:
    """The class or function at a dotted path."""
    module_name, _, attribute = str(path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise KronaError(f"{where}={path!r} can't be imported: {error}") from error
    if not callable(found):
        raise KronaError(f"{where}={path!r} is a {type(found).__name__}, not a class")
    return found


def parameters(function: Any, *, without: Sequence[str] = ()) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters.items()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: one for name, one in parameters if one.kind not in variadic and name not in without}


def raise_all(problems: Sequence[str]) -> None:
    if problems:
        raise KronaError("\n".join(problems))
