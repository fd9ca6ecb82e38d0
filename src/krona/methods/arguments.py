"""Checks of a branch's arguments: the message names ``method.<key>``, the value and what is expected."""

import math
from collections.abc import Iterable

from krona.messages import KronaError, did_you_mean


def finite(key: str, value: object) -> float:
    """A number that is neither NaN nor infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise KronaError(f"method.{key}={value!r}: expected a finite number")
    return float(value)


def whole(key: str, value: object, *, low: int, high: int | None = None, why: str = "") -> int:
    """A whole number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise KronaError(f"method.{key}={value!r}: expected a whole number {limits}{why and f'; {why}'}")
    return value


def choice(key: str, value: object, options: Iterable[str | None]) -> None:
    """One of a few words; None stands for null."""
    known = list(options)
    if value not in known:
        words = ["null" if option is None else option for option in known]
        raise KronaError(f"method.{key}={value!r}: {did_you_mean(str(value), words)}")
