"""Checks of a file that the user chose for a command's output."""

from pathlib import Path

from krona.files import link_target
from krona.messages import KronaError, shortened
from krona.runs import names


def require_out(path: Path) -> None:
    """Raise `KronaError` before the work where a file of the user's choice can't be written, or is a run's own."""
    try:
        if path.is_dir():
            raise KronaError(f"{path} is a folder: name a file in it")
        target = link_target(path)
        beside = target.with_name(names.RESULT)
        if target == beside or (target.name in names.OWN and beside.exists()):
            raise KronaError(f"{path} is a run's own file: take another name")
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links
        raise KronaError(f"{shortened(path)} can't be written: {getattr(error, 'strerror', None) or error}") from error


def require_new(path: Path, *, overwrite: bool) -> None:
    """`require_out`, and raise `KronaError` for a file that is there, unless it is to be replaced."""
    require_out(path)
    if path.exists() and not overwrite:
        raise KronaError(f"{path} exists: --overwrite replaces it")
