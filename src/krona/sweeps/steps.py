"""Search in steps: try the neighbours of the best values, and move to a neighbour that scores higher on dev.

The search starts at the values of the config. A step multiplies or divides the learning rate by a factor. If no
neighbour scores higher, the steps become shorter. After enough trials, the best rate lies between two other tried
rates.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Point = Mapping[str, Any]  # the value of each axis by its key
SHARES = (1.0, 0.5, 0.25, 0.125)  # the step lengths: the factor is raised to these powers


@dataclass(frozen=True)
class Steps:
    """The values of an axis: ``choices`` or, if there are none, ``start`` multiplied by powers of ``factor``.

    The search begins at ``start``.
    """

    start: Any
    factor: float = 1.0
    choices: Sequence[Any] = ()

    def neighbours(self, value: Any, share: float) -> Iterator[Any]:
        """Yield the neighbours of a value: all other choices, or its product and quotient with ``factor**share``."""
        if self.choices:
            yield from (option for option in self.choices if option != value)
        else:
            yield from (float(f"{value * self.factor**exponent:.2g}") for exponent in (share, -share))


def next_point(axes: Mapping[str, Steps], trials: Sequence[tuple[Point, float | None]]) -> Point | None:
    """Return the values to try next, or None if all neighbours of the best values were tried.

    Args:
        axes: the values of each searched key.
        trials: the values of each trial, and its score. The score of an unfinished or failed trial is None.
    """
    tried = [dict(point) for point, _ in trials]
    start = {key: axis.start for key, axis in axes.items()}
    if start not in tried:
        return start
    scored = [(score, point) for point, score in trials if score is not None]
    best = max(scored, key=lambda pair: pair[0])[1] if scored else start
    for share in SHARES:
        for key, axis in axes.items():
            for value in axis.neighbours(best[key], share):
                if (point := {**best, key: value}) not in tried:
                    return point
    return None
