"""What a method's arguments are where its settings leave them out: typed as that or not typed, it is one setting."""

from collections.abc import Mapping
from typing import Any

from krona.outputs.result import Result

BEFORE = {"kron_factors": {"terms": 1}}  # of results without `method_defaults`: what a method with this argument has


class LeftOut:
    """Learned from all results of a report, so that it holds for those too that were made before it was recorded."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._changed: set[tuple[str, str]] = set()  # by another version of the code: no one value stands for them
        self._seen: dict[int, Any] = {}  # equal records are one object in many results

    def learn(self, result: Result) -> None:
        """Take a result's record, if it has one."""
        record = result.provenance.get("method_defaults")
        if not record or id(record) in self._seen:
            return
        self._seen[id(record)] = record
        method = _branch(result.config["method"])
        known = self._known.setdefault(method, {})
        for key, value in record.items():
            if known.setdefault(key, value) != value:
                self._changed.add((method, key))

    def completed(self, method: Mapping[str, Any]) -> dict[str, Any]:
        """A method's settings with those that they leave out."""
        branch = _branch(method)
        known = {key: value for key, value in self._known.get(branch, {}).items() if (branch, key) not in self._changed}
        before = {key: value for sign, has in BEFORE.items() if sign in method for key, value in has.items()}
        return {**before, **known, **method}


def _branch(method: Mapping[str, Any]) -> str:
    return str(method.get("_target_") or method.get("name"))
