"""Check the regular expressions in a peft config, because a hostile one can take hours."""

import re
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from krona.messages import KronaError, shorten

PATTERNS = (
    "rank_pattern", "alpha_pattern", "block_size_pattern", "target_modules", "exclude_modules", "feedforward_modules",
    "layers_pattern",
)  # fmt: skip
LIMIT_S = 5.0  # CPU time for all names of modules; a usual expression takes a millisecond


def check_patterns(path: Path, config: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise KronaError if a regular expression of a peft config is invalid, or takes too long on the modules' names."""
    for key in PATTERNS:
        found = config.get(key) or []
        if isinstance(found, list) and key != "layers_pattern":  # a list of names
            continue
        if not isinstance(found, str | list | dict):
            raise KronaError(f"In {path}, {key}={found!r} is neither a text nor a list.")
        for expression in [found] if isinstance(found, str) else found:
            where = f"In {path}, {shorten(repr(expression), 200)} of {key}"
            try:
                with _time_limit(KronaError(f"{where} takes over {LIMIT_S:g} s. Simplify this regular expression.")):
                    for name in names:
                        re.match(rf"(.*\.)?({expression})$", name)
            except (re.error, RecursionError, OverflowError) as error:
                raise KronaError(f"{where} is not a regular expression: {error}.") from error


@contextmanager
def _time_limit(error: Exception) -> Iterator[None]:
    """Raise ``error`` if the block takes over `LIMIT_S` of CPU time. Only the main thread of a program has a limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise error

    before = signal.signal(signal.SIGVTALRM, stop)  # Python checks signals also within a match
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
