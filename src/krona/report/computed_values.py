"""Compute values once: tests and intervals in all reports of a folder, and parts of configs in one report."""

from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from krona.runs.cache import read_cache, write_cache
from krona.runs.run_id import canonical, flatten

FILE = "computed.json"
PACKAGE = Path(__file__).parents[1]
WORTH = 100  # smallest number of new values that is stored
MOST = 20_000  # the number of values in the file; those that were not used for the longest time are removed


class ComputedValues:
    """Values that were computed from the predictions of runs. They are kept in the folder of the runs.

    For many runs their computation takes seconds. The key of a value contains a hash of the result.json of each run.
    The values of other code, and of other versions of NumPy and SciPy, are not used.
    """

    def __init__(self, outputs: Path | None = None) -> None:
        self._outputs = outputs
        stored = None if outputs is None else read_cache(outputs, FILE, version=_code())
        self._stored: dict[str, Any] = stored or {}
        self._used: dict[str, Any] = {}

    def get(self, kind: str, sources: Any, compute: Callable[[], Any]) -> Any:
        """Return the value that ``compute`` returns as JSON types, or a stored one.

        Args:
            kind: the name of the computed quantity.
            sources: the data from which the value is computed, in plain types. A run is given by `StoredRun.digest`.
            compute: a function that returns the value.
        """
        key = f"{kind} {blake2b(repr(sources).encode(), digest_size=16).hexdigest()}"
        if key not in self._used:
            self._used[key] = self._stored[key] if key in self._stored else compute()
        return self._used[key]

    def save(self) -> None:
        """Write the values if there are enough new ones."""
        if self._outputs is None or len(self._used.keys() - self._stored.keys()) < WORTH:
            return
        values = {key: value for key, value in self._stored.items() if key not in self._used} | self._used
        write_cache(self._outputs, FILE, dict([*values.items()][-MOST:]), version=_code())


@cache
def _code() -> str:
    """Return a hash of the code that computes values, and of the versions of its libraries."""
    files = sorted(file for part in ("metrics", "report", "runs") for file in (PACKAGE / part).rglob("*.py"))
    libraries = "".join(map(version, ("numpy", "scipy")))
    return blake2b(b"".join(file.read_bytes() for file in files) + libraries.encode(), digest_size=16).hexdigest()


class SharedParts:
    """A cache of values computed from parts of configs.

    Equal parts of configs are usually the same Python object, so the keys of the cache contain the ids of the parts.
    """

    def __init__(self, computed: ComputedValues | None = None) -> None:
        self.computed = computed or ComputedValues()
        self._known: dict[Any, tuple[Any, Any]] = {}
        self._flat: dict[Any, dict[str, str]] = {}
        # The subsets of training rows of runs with another seed than data.subset_seed, which is the same for all seeds.
        self.fixed_subsets: set[tuple[Any, ...]] = set()

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
