"""The state of a run, read from its folder."""

from pathlib import Path
from typing import Literal

from krona.messages import KronaError
from krona.outputs import claim
from krona.outputs.result import Result, read_result

State = Literal["done", "running", "interrupted", "failed", "waiting", "wrong"]
OPEN: tuple[State, ...] = ("waiting", "running", "interrupted")  # not at their end yet


def state_of(folder: Path) -> tuple[State, Result | None, str | None]:
    """How far a run is, from its folder alone."""
    path = folder / "result.json"
    if not path.is_file():
        return ("running" if claim.owner(folder) else "waiting"), None, None
    try:
        result = read_result(path)
    except KronaError as error:
        return "failed", None, str(error)
    if result.status == "done":
        return "done", result, None
    if claim.owner(folder) is not None:
        return "running", result, None
    return ("failed" if result.status == "failed" else "interrupted"), result, result.error
