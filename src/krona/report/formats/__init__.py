"""Find the formats of a report. Each module or package in this folder is a format with a function `render`.

The name of the module is the value of `--format`.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from krona.report.table import Report, Target

FORMATS = tuple(sorted(module.name for module in iter_modules(__path__)))


def renderer(name: str) -> "Callable[[Report, Target], str]":
    """Return the function ``render(report, target)`` of a format."""
    return cast("Callable[[Report, Target], str]", import_module(f"{__name__}.{name}").render)
