"""Compute values from parts of configs that many results have in common, once for all of them."""

from collections.abc import Callable
from typing import Any

from krona.report.computed_values import ComputedValues
from krona.runs.run_id import canonical, flatten


class SharedParts:
    """A cache of values computed from parts of configs.

    Equal parts of configs are usually the same Python object, so the keys of the cache contain the ids of the parts.
    """

    def __init__(self, computed: ComputedValues | None = None) -> None:
        self.computed = computed or ComputedValues()
        self._known: dict[Any, tuple[Any, Any]] = {}
        self._flat: dict[Any, dict[str, str]] = {}

    def compute(self, key: Any, part: Any, make: Callable[[], Any]) -> Any:
        """Return the cached value of ``key``, which contains the ids of ``part``, or compute it with ``make``."""
        if key not in self._known:
            self._known[key] = (part, make())  # keeps the part alive, so that no other object gets its id
        return self._known[key][1]

    def flatten(self, key: str, part: Any) -> dict[str, str]:
        """Return a dict from the dotted keys in a part of a config to values. Equal parts give the same object."""
        found: dict[str, str] = self.compute((key, id(part)), part, lambda: self._flatten(key, part))
        return found

    def _flatten(self, key: str, part: Any) -> dict[str, str]:
        plain = canonical({key: part})
        settings = dict(flatten(plain)) if plain else {}  # a part with default values only can be empty
        return self._flat.setdefault(tuple(sorted(settings.items())), settings)
