"""Find the formats of a report. Each module in this folder is a format with a function `render`.

The name of the module is the value of `--format`.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from krona.messages import KronaError

if TYPE_CHECKING:
    from krona.report.table import Report

FORMATS = tuple(sorted(module.name for module in iter_modules(__path__)))


def renderer(name: str) -> "Callable[[Report, Path | None], str]":
    """Return the function ``render(report, out)`` of a format. ``out`` is the file, or None for standard output.

    Raise `KronaError` if the format does not exist.
    """
    if name not in (module.name for module in iter_modules(__path__)):
        raise KronaError(f"The format {name!r} does not exist. Choose from {', '.join(FORMATS)}.")
    render: Callable[[Report, Path | None], str] = import_module(f"{__name__}.{name}").render
    return render
