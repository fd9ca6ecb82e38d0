"""A metric in two forms: by a library for one score, and as sums over examples for thousands of resampled test sets."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from krona.metrics.answers import Answers

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """``value(features.sum(0))`` is the metric, 0-100; ``value`` maps (..., F) to (...)."""

    features: Floats  # (n, F)
    value: Callable[[Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A file of `krona.metrics.scores` defines one as ``METRIC``; the file's name is the metric's."""

    score: Callable[[Answers], float]  # by scikit-learn or SciPy, imported inside; 1 is perfect
    sums: Callable[[Answers, Floats], Sums]  # the second argument: all values that a prediction may take
    of_numbers: bool = False
    classes: int | None = None  # the only number of classes that it is for
    linear: bool = False  # in its sums: of several runs their mean can be summed
    of_draws: Callable[[Answers, Floats], Floats] | None = None  # where no sums give the score of a redrawn test set:
    # weights (draws, n), how often each example was drawn, to scores (draws,), 0-100


def one_hot(ids: NDArray[Any], n: int) -> Floats:
    """(N,) to (N, n)."""
    return np.asarray(ids[:, None] == np.arange(n), dtype=float)


def ratio(top: Floats, bottom: Floats) -> Floats:
    """100 · top / bottom, 0 where bottom is 0."""
    safe = np.where(bottom > 0, bottom, 1.0)
    return np.asarray(np.where(bottom > 0, 100.0 * top / safe, 0.0))


def correlation(name: str, answers: Answers) -> float:
    """SciPy's ``pearsonr`` or ``spearmanr``; a constant has no correlation: 0."""
    from scipy import stats

    if min(len(np.unique(values)) for values in (answers.truth, answers.given)) == 1:
        return 0.0
    with warnings.catch_warnings():
        # SciPy's note that numbers as near as 1e20 and 1e20 + 20000 correlate inexactly; they are wrong anyway.
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return float(getattr(stats, name)(answers.truth, answers.given).statistic)
