"""Estimate the time of a run: the median time of the finished runs that are most similar to it (`GROUPS`)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from krona.runs.result import Result

GROUPS = (("method", "task", "backbone"), ("task", "backbone"), ("backbone",))  # from the most to the least specific


class RunTimes:
    """The times of finished runs, by method, task and backbone."""

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
