"""Define the classes that describe a metric.

A metric is a function of sums over examples, so that the scores of thousands of resampled test sets are computed
together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from krona.metrics.answers import Answers

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """A metric as a function of sums over examples. The score in points is ``value(features.sum(0))``."""

    features: Floats  # (n, F): F numbers for each of the n examples
    value: Callable[[Floats], Floats]  # maps sums (..., F) to scores (...)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric.

    Each file of `krona.metrics.scores` defines one metric as ``METRIC``. The name of the metric is the file's name.
    Only metrics whose `Sums` are wrong for test sets that are drawn with replacement have ``redrawn_scores``. This
    function returns their scores (runs, draws), from the number of times (draws, n) that each example was drawn.
    """

    sums: Callable[[Answers, Floats | None], Sums]  # of all values that a prediction can have; None: that occur
    of_numbers: bool = False  # for regressions
    classes: int | None = None  # the number of classes for which the metric is defined; None: any number
    linear: bool = False  # linear in its sums, so that the sums of several runs can be averaged
    redrawn_scores: Callable[[Sequence[Answers], Floats], Floats] | None = None


def one_hot(ids: NDArray[Any], n: int) -> Floats:
    """Return the one-hot encoding (N, n) of ids (N,)."""
    return np.asarray(ids[:, None] == np.arange(n), dtype=float)


def split(sums: Floats, parts: int) -> list[Floats]:
    """Return equal parts of the last axis, as ``np.split`` does, but in a tenth of its time for small arrays."""
    size = sums.shape[-1] // parts
    return [sums[..., start : start + size] for start in range(0, parts * size, size)]


def ratio(top: Floats, bottom: Floats) -> Floats:
    """Return top / bottom, or 0 where bottom is not positive."""
    return np.asarray(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0))
