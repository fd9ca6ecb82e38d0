"""Store the tests and intervals that reports compute from predictions, because for many runs they take seconds."""

import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.safe_files import MAX_JSON, is_below, parse_json, read_text, write_whole

FILE = Path(".index", "computed.json")
PACKAGE = Path(__file__).parents[1]
WORTH = 100  # smallest number of new values that is stored
MOST = 20_000  # the number of values in the file; those that were not used for the longest time are removed


class ComputedValues:
    """Values that were computed from the predictions of runs. They are kept in the folder of the runs.

    The key of a value contains a hash of the result.json of each run. The values of other code, and of other versions
    of NumPy and SciPy, are not used.
    """

    def __init__(self, outputs: Path | None = None) -> None:
        self._outputs = outputs
        self._stored = self._read()
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
        """Write the values. Do nothing for a few new values, a folder that is read-only, or a full disk."""
        if self._outputs is None or len(self._used.keys() - self._stored.keys()) < WORTH:
            return
        file = self._outputs / FILE
        values = {key: value for key, value in self._stored.items() if key not in self._used} | self._used
        text = json.dumps(dict([*values.items()][-MOST:]))
        with suppress(OSError, KronaError):
            file.parent.mkdir(exist_ok=True)
            if is_below(self._outputs, file) and not file.is_symlink():
                write_whole(file, partial(Path.write_text, data=f"{_heading(text)}\n{text}", encoding="utf-8"))

    def _read(self) -> dict[str, Any]:
        if self._outputs is None or not is_below(self._outputs, self._outputs / FILE):
            return {}
        try:
            heading, _, text = read_text(self._outputs / FILE, limit=MAX_JSON).partition("\n")
            return dict(parse_json(text)) if heading == _heading(text) else {}
        except (OSError, ValueError, TypeError):
            return {}


def _heading(text: str) -> str:
    return f"{_code()} {zlib.crc32(text.encode())}"


@cache
def _code() -> str:
    """Return a hash of the code that computes values, and of the versions of its libraries."""
    files = sorted(file for part in ("metrics", "report", "runs") for file in (PACKAGE / part).rglob("*.py"))
    libraries = "".join(map(version, ("numpy", "scipy")))
    return blake2b(b"".join(file.read_bytes() for file in files) + libraries.encode(), digest_size=16).hexdigest()
