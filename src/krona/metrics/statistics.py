"""Compute intervals and Holm's correction.

There are two intervals: Student's t over seeds, and the bootstrap over test examples. The bootstrap draws with a fixed
seed, so equal results give equal reports.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from krona.metrics.scores import METRICS, compute_sums
from krona.metrics.scores.metric import Answers, Floats

Interval = tuple[float, float]
LEVEL = 0.95
DRAWS = 2_000  # the number of bootstrapped test sets
CHUNK = 4_000_000  # the maximum number of values in memory while resampling


def t_interval(values: Sequence[float]) -> Interval | None:
    """Return Student's t interval of the mean over seeds, or None for fewer than two seeds."""
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    if len(values) < 2:
        return None
    mean, n = float(np.mean(values)), len(values)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def percentile_interval(draws: Floats) -> Interval:
    """Return the percentile interval of bootstrap draws."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bootstrap(runs: Sequence[Answers], metrics: Sequence[str], *, draws: int = DRAWS) -> Floats:
    """Return the mean score over runs on each bootstrapped test set, (draws,).

    The runs are those of one method with several seeds on one test set. A bootstrapped test set is drawn with
    replacement, has as many examples (or, if the examples have groups, as many groups) as the original test set, and is
    the same for all runs. The percentile interval of the result therefore shows how much the score depends on the test
    examples, but not how much the score depends on the seed.
    """
    by_metric = [compute_sums(name, runs) for name in metrics if not METRICS[name].ranked]
    # Pairs of a run's sums and their weight in the mean over runs.
    sums = [(run_sums, 1 / len(of_metric)) for of_metric in by_metric for run_sums in of_metric]
    ranked = [METRICS[name] for name in metrics if METRICS[name].ranked]
    total = np.zeros(draws)
    n, groups = runs[0].units, runs[0].groups
    if ranked:  # these metrics need the drawn examples, not only sums over them
        for rows in chunks(draws, n * 4):
            weights = _draw_examples(rows.start, rows.stop - rows.start, n)
            of_examples = weights if groups is None else weights[:, groups]
            for metric in ranked:
                total[rows] += sum(metric.redrawn_scores(runs, of_examples)) / len(runs)
            for run_sums, share in sums:
                total[rows] += share * run_sums.value(np.asfortranarray(weights @ run_sums.features))
        return total / len(metrics)
    # Examples with equal features are interchangeable. Therefore only the number of examples of each kind is drawn.
    rng = np.random.default_rng(0)
    features = [run_sums.features for run_sums, _ in sums]
    kinds, counts = np.unique(np.hstack(features), axis=0, return_counts=True)
    ends = np.cumsum([block.shape[1] for block in features])[:-1]
    for rows in chunks(draws, len(kinds)):
        came = rng.multinomial(n, counts / n, size=rows.stop - rows.start).astype(float)
        blocks = np.split(np.asfortranarray(came @ kinds), ends, axis=1)
        total[rows] = sum(share * run_sums.value(block) for (run_sums, share), block in zip(sums, blocks, strict=True))
    return total / len(metrics)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values, adjusted by Holm's method, in the order of the argument."""
    order = np.argsort(p_values, kind="stable")
    raised = np.minimum(1.0, np.arange(len(order), 0, -1) * np.asarray(p_values, float)[order])
    return [float(p) for p in np.maximum.accumulate(raised)[np.argsort(order)]]


@lru_cache(maxsize=1)  # all rows in a column of a report use the same draws
def _draw_examples(start: int, rows: int, n: int) -> Floats:
    """Draw ``rows`` bootstrap samples of n examples. Return how often each example was drawn, (rows, n)."""
    rng = np.random.default_rng((0, start))
    picked = rng.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
    return np.bincount(picked.ravel(), minlength=rows * n).reshape(rows, n).astype(float)


def chunks(total: int, width: int) -> list[slice]:
    size = max(1, CHUNK // max(1, width))
    return [slice(start, min(total, start + size)) for start in range(0, total, size)]
