"""Validation of plain values, as YAML has them, against annotated types."""

import inspect
import json
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import ConfigDict, TypeAdapter, ValidationError

MOST = 2**31 - 1  # of a count: what torch and the operating system take
STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
RANGE_ERRORS = {"greater_than_equal", "less_than_equal"}


def expected(value: Any, hint: Any) -> str | None:
    """What ``hint`` expects, in words, if the value does not fit; None if it fits.

    An int is also a float; a bool is no number. A list fits a tuple, so the value is validated as JSON.
    """
    try:
        _adapter(hint).validate_json(json.dumps(value, default=str))
    except ValidationError as error:
        kinds = {one["type"] for one in error.errors()}
        if kinds & {"finite_number"}:
            return ", ".join(filter(None, ["a finite number", _limits(hint, value)]))
        if isinstance(value, float) and describe(hint) == "a whole number":
            return ", ".join(filter(None, ["a whole number in digits", _limits(hint, value)]))
        return (_limits(hint, value) if kinds & RANGE_ERRORS else "") or describe(hint)
    return None


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=STRICT)


def _limits(hint: Any, value: Any) -> str:
    """``at least 1``, ``from 0 to 9``; empty without limits. ``MOST`` is named only where ``value`` is above it."""
    bounds = {type(one): one for one in _bounds(hint)}
    if Ge not in bounds:
        return ""
    low = bounds[Ge].ge
    high = bounds[Le].le if Le in bounds else None
    above = isinstance(value, int | float) and value > MOST
    return f"at least {low}" if high is None or (high == MOST and not above) else f"from {low} to {high}"


def _bounds(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
    else:
        for part in get_args(hint):
            yield from _bounds(part)


def describe(hint: Any) -> str:
    """An annotation in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return describe(arguments[0])
    if origin is typing.Literal:
        return " or ".join(str(option) for option in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(argument) for argument in arguments)
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    if hint in words:
        return words[hint]
    if inspect.isclass(origin) and arguments and not issubclass(origin, Mapping):
        return f"a list, each {describe(arguments[0])}"
    return "keys and values" if inspect.isclass(origin) else str(hint)
