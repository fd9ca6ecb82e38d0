"""Validation by pydantic: what is wrong with plain values as one line per key, with the nearest key that exists."""

import inspect
import json
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, make_dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from krona.config.habits import habit_for, unknown_key
from krona.config.settings import STRICT
from krona.messages import KronaError

T = TypeVar("T")
CONSTRUCTION_KEYS = ("_target_", "_args_", "_partial_", "_convert_", "_recursive_")  # of hydra.utils.instantiate


class NotAllowedError(KronaError):
    """A file names a class that krona does not import on behalf of a file."""


class Problems(list[str]):
    """The problems of a config, a line each."""

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Add a `KronaError` to the problems, but let a `NotAllowedError` pass."""
        try:
            yield
        except NotAllowedError:
            raise
        except KronaError as error:
            self.append(str(error))

    def raise_all(self) -> None:
        """Raise one `KronaError` for all problems, if there are any."""
        if self:
            raise KronaError("\n".join(self))


def build(cls: type[T], where: str, values: Mapping[str, Any]) -> T:
    """Return a settings class from plain values. Raise one `KronaError` with all problems."""
    Problems(problems_of(cls, f"{where}.", values)).raise_all()
    return cls(**values)


def problems_of(
    cls: type, prefix: str, values: Mapping[str, Any], *, known: Collection[str] | None = None
) -> list[str]:
    """Return a line for each problem of a settings class with these values. known: the keys that a message lists."""
    try:
        cls(**values)
    except ValidationError as error:
        return _describe(error, prefix, values, known or typing.get_type_hints(cls))
    return []


def _describe(error: ValidationError, prefix: str, values: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Return a line for each wrong key: it is unknown or missing, or what its value must be."""
    lines: dict[str, str] = {}
    for one in error.errors(include_url=False):
        path = _path_in(values, one["loc"])
        key = f"{prefix}{path[0]}" if path else prefix
        if one["type"] == "value_error":
            lines[key] = str(one["ctx"]["error"])
        elif one["type"] == "missing":
            lines[key] = f"{key} is missing"
        elif one["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            lines[key] = unknown_key(key, known)
        elif key not in lines:
            item = f" item {'.'.join(map(str, path[1:]))}" if len(path) > 1 else ""
            lines[key] = f"{key}={values[str(path[0])]!r}{item} {_expected(one)}"
        elif len(path) == 1:  # the next member of a union
            lines[key] += f" or {_expected(one)}"
    return [line + habit_for(f"{key}={values.get(key.removeprefix(prefix))}") for key, line in lines.items()]


def _expected(error: ErrorDetails) -> str:
    return error["msg"].replace("Input should be", "must be")


def _path_in(values: Any, location: Sequence[int | str]) -> list[int | str]:
    """Return pydantic's location of an error without its names for the members of unions."""
    path = []
    for step in location:
        if isinstance(values, Mapping):
            values = values.get(step)
        elif isinstance(values, list | tuple) and isinstance(step, int) and step < len(values):
            values = values[step]
        else:
            continue
        path.append(step)
    return path


def argument_problems(
    function: Callable[..., Any],
    prefix: str,
    values: Mapping[str, Any],
    *,
    without: Sequence[str] = (),
    filled_in: Sequence[str] = (),
    also: Collection[str] = (),
) -> list[str]:
    """Return a line for each argument of a function or class that is unknown, missing or of a wrong type.

    Args:
        without: arguments that only krona gives.
        filled_in: arguments that krona gives if they are missing.
        also: other keys that belong beside the arguments, for suggestions.
    """
    try:
        _arguments(function, tuple(without), tuple(filled_in)).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        return _describe(error, prefix, values, {*parameters(function, without=without), *also})
    return []


@cache
def _arguments(function: Callable[..., Any], without: Sequence[str], filled_in: Sequence[str]) -> TypeAdapter[Any]:
    """Return the arguments as a type of pydantic. JSON is validated against it, so that a list fits a tuple."""
    try:
        hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except (NameError, TypeError):
        hints = {}
    fields: list[tuple[str, Any, Any]] = []
    for name, parameter in parameters(function, without=without).items():
        required = parameter.default is parameter.empty and name not in filled_in
        fields.append((name, hints.get(name, Any), field() if required else field(default=None)))
    variadic = any(one.kind is one.VAR_KEYWORD for one in inspect.signature(function).parameters.values())
    config = {**STRICT, "extra": "allow" if variadic else "forbid", "use_attribute_docstrings": False}
    kind = make_dataclass("Arguments", fields, kw_only=True, namespace={"__pydantic_config__": config})
    return TypeAdapter(kind)


def parameters(function: Callable[..., Any], *, without: Sequence[str] = ()) -> dict[str, inspect.Parameter]:
    """Return the named parameters of a function or class."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(function).parameters.items()
    return {name: one for name, one in found if one.kind not in variadic and name not in without}
