"""The state of a run: one rule, from its result.json and its claim."""

from pathlib import Path
from typing import Literal

from krona.messages import KronaError
from krona.outputs import claim
from krona.outputs.result import Result, Status, read_result

State = Literal["done", "running", "interrupted", "failed", "waiting", "wrong"]
OPEN: tuple[State, ...] = ("waiting", "running", "interrupted")  # not finished


def state_of(folder: Path, *, owned: bool | None = None) -> tuple[State, Result | None, str | None]:
    """A run's state, result and error. ``owned``: whether a live process has claimed it; None: its claim says."""
    path = folder / "result.json"
    try:
        if not path.exists():
            return ("running" if _owned(folder, owned) else "waiting"), None, None
        result = read_result(path)
    except KronaError as error:
        return "failed", None, str(error)
    except OSError as error:
        return "failed", None, f"{folder} can't be read: {error.strerror or error}"
    return status_of(result, folder, owned=owned), result, result.error


def status_of(result: Result, folder: Path, *, owned: bool | None = None) -> Status:
    """A result's status as of now: a run that is not done is running if a live process owns it, and only then."""
    if result.status == "done":
        return "done"
    if _owned(folder, owned):
        return "running"
    return "failed" if result.status == "failed" else "interrupted"


def _owned(folder: Path, known: bool | None) -> bool:
    if known is not None:
        return known
    try:
        return claim.owner(folder) is not None
    except OSError:  # the folder is read-only: the age of the claim in it can't be measured
        return True
