"""Check values with pydantic, and report each wrong key with the expected type or the most similar known key."""

import inspect
import json
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, is_dataclass, make_dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from krona.config.settings import STRICT
from krona.messages import KronaError, describe_problem, expected_value, unknown_key

T = TypeVar("T")
CONSTRUCTION_KEYS = ("_target_", "_args_", "_partial_", "_convert_", "_recursive_")  # read by hydra.utils.instantiate


class NotAllowedError(KronaError):
    """The error for a config that names a forbidden class or function (`krona.config.target_classes`)."""


class Problems(list[str]):
    """The problems of a config, as a list with one line for each problem."""

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Catch a `KronaError` and append its message to the list. A `NotAllowedError` is not caught."""
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
    """Return an instance of a settings class with these values.

    Raises:
        KronaError: values are wrong or missing. The message has one line for each problem.
    """
    Problems(find_problems(cls, f"{where}.", values)).raise_all()
    return cls(**values)


def find_problems(cls: type, prefix: str, values: Mapping[str, Any]) -> list[str]:
    """Return a line for each key of a settings class that is unknown, is missing or has a wrong value."""
    try:
        cls(**values)
    except ValidationError as error:
        known = typing.get_type_hints(cls).keys() - {"config"}  # only krona sets this field of `Run`
        return _describe(error, prefix, values, known)
    return []


def find_argument_problems(
    function: Callable[..., Any],
    prefix: str,
    values: Mapping[str, Any],
    *,
    without: Sequence[str] = (),
    filled_in: Sequence[str] = (),
    also: Collection[str] = (),
) -> list[str]:
    """Return a line for each argument of a function or class that is unknown, missing or of the wrong type.

    Args:
        without: arguments that only krona may set.
        filled_in: arguments that krona sets if they are missing.
        also: other keys of the same section, for suggestions.
    """
    try:
        _argument_type(function, tuple(without), tuple(filled_in)).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        return _describe(error, prefix, values, {*parameters(function, without=without), *also})
    return []


def parameters(function: Callable[..., Any], *, without: Sequence[str] = ()) -> dict[str, inspect.Parameter]:
    """Return the named parameters of a function or class."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = inspect.signature(function).parameters.items()
    return {name: parameter for name, parameter in named if parameter.kind not in variadic and name not in without}


@cache
def _argument_type(function: Callable[..., Any], without: Sequence[str], filled_in: Sequence[str]) -> TypeAdapter[Any]:
    """Return a pydantic type for the arguments of a function or class.

    Use the type to validate JSON, because pydantic then accepts a list for a tuple.
    """
    try:
        is_complete = is_dataclass(function) or not inspect.isclass(function)  # a dataclass may inherit fields
        hints = typing.get_type_hints(function if is_complete else function.__init__)
    except (NameError, TypeError):
        hints = {}
    fields: list[tuple[str, Any, Any]] = []
    for name, parameter in parameters(function, without=without).items():
        required = parameter.default is parameter.empty and name not in filled_in
        fields.append((name, hints.get(name, Any), field() if required else field(default=None)))
    variadic = any(item.kind is item.VAR_KEYWORD for item in inspect.signature(function).parameters.values())
    config = {**STRICT, "extra": "allow" if variadic else "forbid", "use_attribute_docstrings": False}
    return TypeAdapter(make_dataclass("Arguments", fields, kw_only=True, namespace={"__pydantic_config__": config}))


def _describe(error: ValidationError, prefix: str, values: Mapping[str, Any], known: Collection[str]) -> list[str]:
    lines: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        path = _path_in(values, problem["loc"])
        name = str(path[0]) if path else ""
        key, value = f"{prefix}{name}", values.get(name)
        if problem["type"] == "missing" and value is not None:
            lines[name] = f"{key}={value!r} has too few values"
        elif problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            lines[name] = unknown_key(key, known)
        elif name not in lines or problem["type"] == "value_error":
            item = f" item {'.'.join(map(str, path[1:]))}" if len(path) > 1 else ""
            lines[name] = describe_problem(problem, key, value, item)
        elif len(path) == 1 and (expected := expected_value(problem)) not in lines[name]:
            # pydantic reports a separate problem for each type of a union.
            lines[name] += f", or {expected.removeprefix('must be ')}"
    return [*lines.values()]


def _path_in(values: object, location: Sequence[int | str]) -> list[int | str]:
    """Return the keys and indices that lead to a wrong value, without pydantic's names of union members."""
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
