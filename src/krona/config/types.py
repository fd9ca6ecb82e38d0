"""Plain values, as YAML has them, against type annotations."""

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any, get_args, get_origin


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of an annotated type; an int is a float too, a bool is neither."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if origin is typing.Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if isinstance(value, bool) and hint is not bool:
        return hint in (object, type(None)) and hint is not type(None)
    if hint is float:
        return isinstance(value, int | float)
    if inspect.isclass(origin) and isinstance(value, str) and origin is not str:
        return False  # "abc" is a sequence to Python, not to a reader
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if inspect.isclass(origin) and arguments and isinstance(value, list | tuple):
        variadic = origin is not tuple or (len(arguments) == 2 and arguments[1] is Ellipsis)
        if not variadic:
            return len(value) == len(arguments) and all(map(fits, value, arguments))
        return all(fits(item, arguments[0]) for item in value)
    if inspect.isclass(origin):
        return isinstance(value, origin)
    return isinstance(value, hint) if inspect.isclass(hint) else True


def describe(hint: Any) -> str:
    """An annotation in words."""
    origin, arguments = get_origin(hint), get_args(hint)
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
