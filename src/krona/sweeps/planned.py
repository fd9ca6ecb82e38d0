"""A run of a sweep, and its state."""

from dataclasses import dataclass
from typing import Any

from krona.runs.folder import State
from krona.runs.result import Result


@dataclass(frozen=True)
class Planned:
    """A run of a sweep or of the outputs folder, and its state."""

    run_id: str  # or the overrides of a wrong run
    state: State
    result: Result | None = None
    error: str | None = None
    config: dict[str, Any] | None = None  # None if it can't be composed, or if the run was found in the outputs folder
