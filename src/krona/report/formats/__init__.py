"""Report formats, one file or folder each, found by themselves: its name is the format's, its ``render`` the text."""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from krona.report.table import Report, Target


def found() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in iter_modules(__path__)))


FORMATS = found()


def renderer(name: str) -> "Callable[[Report, Target], str]":
    """The ``render(report, target)`` of a format."""
    return cast("Callable[[Report, Target], str]", import_module(f"{__name__}.{name}").render)
