"""Axes of charts: their ends, their ticks, and the position of a value."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Interval = tuple[float, float]


@dataclass(frozen=True)
class ChartAxis:
    """``place`` gives the position of a value between the positions ``low`` and ``high``."""

    label: str
    low: float
    high: float
    ticks: list[tuple[float, str]]
    place: Callable[[float], float] = float

    def clamp(self, value: float) -> float:
        """Return the position of a value; of one beyond the axis, its end."""
        return min(max(self.place(value), self.low), self.high)

    def beyond(self, value: float) -> int:
        """Return -1 for a value below the axis, 1 for one above it, otherwise 0."""
        slack = 1e-6 * (self.high - self.low)
        return (self.place(value) > self.high + slack) - (self.place(value) < self.low - slack)


def linear_axis(label: str, values: Sequence[float], *, zero: bool = False, least: float = 0.0) -> ChartAxis:
    """Return an axis that fits the values. zero: begin at zero; least: the smallest span, in units of the values."""
    low, high = min(values), max(values)
    missing = max(least, 0.0 if high > low else 1.0) - (high - low)
    low, high = (low - missing / 2, high + missing / 2) if missing > 0 else (low, high)
    pad = 0.06 * (high - low)
    low, high = (0.0, max(values) * 1.06 or 1.0) if zero else (low - pad, high + pad)
    return ChartAxis(label, low, high, [(tick, short(tick)) for tick in round_ticks(low, high)])


def whole_axis(label: str, values: Sequence[float]) -> ChartAxis:
    """Return a linear axis with ticks at whole numbers."""
    axis = linear_axis(label, values, least=1)
    ticks = [tick for tick in axis.ticks if tick[0] == round(tick[0])]
    return ChartAxis(label, axis.low, axis.high, ticks)


def log_axis(label: str, values: Sequence[float], *, ticks: Sequence[float] = ()) -> ChartAxis:
    """Return a logarithmic axis of at least a decade, so that a few percent do not look like a difference.

    Zero has a position of its own, left of the other values. ticks: shown in place of round numbers.
    """
    known = [math.log10(value) for value in values if value > 0] or [0.0]
    low, high = min(known), max(known)
    missing = max(0.0, 1 - (high - low)) / 2
    low, high = low - missing, high + missing
    pad = 0.06 * (high - low)
    shown = [value for value in ticks if value > 0] or _log_ticks(10 ** (low - pad), 10 ** (high + pad))
    marks = [(math.log10(value), short(value)) for value in shown]
    low, high, zero = low - pad, high + pad, low - 3 * pad
    if min(values) <= 0:
        marks.insert(0, (zero, "0"))
        low = zero - pad
    return ChartAxis(label, low, high, marks, lambda value: math.log10(value) if value > 0 else zero)


def named_axis(label: str, names: Sequence[str]) -> ChartAxis:
    """Return an axis of names at 0, 1, …; of more than twenty names, only some are shown."""
    step = math.ceil(len(names) / 20)
    return ChartAxis(label, -0.5, len(names) - 0.5, [(float(i), names[i]) for i in range(0, len(names), step)])


def score_axis(label: str, values: Sequence[float], intervals: Sequence[Interval], *, least: float = 1.0) -> ChartAxis:
    """Return an axis that fits all values, and intervals as far as they are not wider than all values together.

    One value far below all others is left out, so that the others can be told apart.
    """
    far = far_below(values)
    shown = [value for value in values if value != far]
    low, high = min(shown), max(shown)
    room = high - low or 1.0
    ends = [end for interval in intervals if far is None or interval[0] > far for end in interval]
    return linear_axis(label, [max(min(low, *ends, low), low - room), min(max(high, *ends, high), high + room)],
                       least=least)  # fmt: skip


def far_below(values: Sequence[float]) -> float | None:
    """Return a lowest value that is so far below the others that an axis leaves it out."""
    ordered = sorted(values)
    far = len(ordered) > 3 and ordered[1] - ordered[0] > 1.5 * (ordered[-1] - ordered[1])
    return ordered[0] if far else None


def round_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return about ``count`` round numbers from ``low`` to ``high``."""
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * i for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [value for value in found if low <= value <= high]
        if len(found) > 2:
            break
    return found


def short(value: float) -> str:
    """Return a number for a tick: 158k, 2.2M, 0.05, 3e−4."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    shown = f"{value:.3g}" if value == 0 or abs(value) >= 9e-3 else f"{value:.2g}".replace("e-0", "e-")
    if 0 < abs(value) < 9e-3:
        digits, _, exponent = f"{value:.1e}".partition("e")
        shown = f"{digits.removesuffix('.0')}e{int(exponent)}"
    return shown.replace("-", "−")
