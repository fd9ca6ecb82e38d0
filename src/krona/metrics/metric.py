"""A metric in two forms: by a library for one score, and by sums over examples for thousands of resampled test sets."""

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
    """A metric, 0-100, as ``value(features.sum(0))``; ``value`` maps (..., F) to (...)."""

    features: Floats  # (n, F)
    value: Callable[[Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric. Each file of `krona.metrics.scores` defines one as ``METRIC``; the file's name is the metric's.

    Args:
        score: the metric by scikit-learn or SciPy, imported inside; 1 is perfect.
        sums: the metric by sums. Its second argument has all values that a prediction can take.
        of_numbers: it is for a regression.
        classes: the only number of classes that it is for; None: any.
        linear: it is linear in its sums, so the mean of several runs can be summed.
        redrawn_scores: the scores (draws,), 0-100, of test sets drawn with repetition, from weights (draws, n), the
            number of times that each example was drawn. Only for metrics whose sums do not give them.
    """

    score: Callable[[Answers], float]
    sums: Callable[[Answers, Floats], Sums]
    of_numbers: bool = False
    classes: int | None = None
    linear: bool = False
    redrawn_scores: Callable[[Answers, Floats], Floats] | None = None


def one_hot(ids: NDArray[Any], n: int) -> Floats:
    """Return (N, n) indicators of ids (N,)."""
    return np.asarray(ids[:, None] == np.arange(n), dtype=float)


def ratio(top: Floats, bottom: Floats) -> Floats:
    """Return 100 · top / bottom, and 0 where bottom is 0."""
    safe = np.where(bottom > 0, bottom, 1.0)
    return np.asarray(np.where(bottom > 0, 100.0 * top / safe, 0.0))


def correlation(name: str, answers: Answers) -> float:
    """Return SciPy's ``pearsonr`` or ``spearmanr``; the correlation of a constant is 0."""
    from scipy import stats

    if min(len(np.unique(values)) for values in (answers.truth, answers.given)) == 1:
        return 0.0
    with warnings.catch_warnings():
        # SciPy warns that numbers such as 1e20 and 1e20 + 20000 correlate inexactly; such answers are wrong anyway.
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return float(getattr(stats, name)(answers.truth, answers.given).statistic)
