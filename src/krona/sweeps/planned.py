"""A run of a sweep, its state, and the time that it will probably take."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from krona.runs.folder import State
from krona.runs.result import Result

GROUPS = (("method", "task", "backbone"), ("task", "backbone"), ("backbone",))  # of similar runs, most similar first


@dataclass(frozen=True)
class Planned:
    """A run of a sweep or of the outputs folder, and its state."""

    overrides: tuple[str, ...]
    run_id: str
    state: State
    result: Result | None = None
    error: str | None = None
    config: dict[str, Any] | None = None  # None if it can't be composed, or if the run was found in the outputs folder


class RunTimes:
    """The times of finished runs, whose median is the estimate for the most similar runs (`GROUPS`)."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for result in results:
            if result.status == "done" and "total" in result.times:
                for key in _keys(result.config):
                    self._seconds[key].append(float(result.times["total"]))

    def estimate(self, config: Mapping[str, Any]) -> float | None:
        """Return the expected seconds of a run, or None if no finished run has the same backbone."""
        return next((median(seconds) for key in _keys(config) if (seconds := self._seconds.get(key))), None)


def _keys(config: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [(*same, *(str((config.get(group) or {}).get("name", "")) for group in same)) for same in GROUPS]
