"""Default arguments of methods, filled in so that implicit and explicit settings group together."""

from collections.abc import Mapping
from typing import Any

from krona.outputs.result import Result


class Defaults:
    """Learned from the results of a report. One that differs between them (other code) stands for no run."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._changed: set[tuple[str, str]] = set()
        self._seen: dict[int, Any] = {}  # equal records are one object in many results

    def learn(self, result: Result) -> None:
        """Take the defaults that a result records."""
        record = result.provenance.get("method_defaults")
        if not record or id(record) in self._seen:
            return
        self._seen[id(record)] = record
        method = _branch(result.config["method"])
        known = self._known.setdefault(method, {})
        for key, value in record.items():
            if known.setdefault(key, value) != value:
                self._changed.add((method, key))

    def filled_in(self, method: Mapping[str, Any]) -> dict[str, Any]:
        """A method's settings with the defaults of those that they leave out."""
        branch = _branch(method)
        known = self._known.get(branch, {})
        return {**{key: value for key, value in known.items() if (branch, key) not in self._changed}, **method}


def _branch(method: Mapping[str, Any]) -> str:
    return str(method.get("_target_") or method.get("name"))
