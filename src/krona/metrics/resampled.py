"""The tasks' metrics as sums over examples, so that thousands of resampled test sets are scored by one product.

Every metric of `krona.metrics.scores` but Spearman's is a function of sums of a few features an example. With the
targets kept (the randomisation test swaps predictions only) Spearman's is one too: of how often each predicted value
occurs, and of the targets' ranks that fall to it. The rules for predictions that are no label are `scores`' own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from krona.metrics.scores import METRICS, NUMBER, NUMBER_METRICS, UNPARSABLE

Floats = NDArray[np.float64]
LEVELS = 256  # more distinct predicted numbers than this are merged to so many before ranks are compared


@dataclass(frozen=True, eq=False)
class Answers:
    """A test set as numbers, (n,) each. Classes: ids in the labels' order, -1 for no label; else the numbers."""

    truth: NDArray[Any]
    given: NDArray[Any]
    classes: int  # 0: a regression

    def __len__(self) -> int:
        return len(self.truth)


@dataclass(frozen=True)
class Measure:
    """``value(features.sum(0))`` is the metric, 0-100; ``value`` maps (..., F) to (...)."""

    features: Floats  # (n, F)
    value: Callable[[Floats], Floats]


def encode(targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str] | None) -> Answers:
    """Strings to numbers. Raises ValueError for unequal lengths, no rows, and a target that is no label."""
    if len(targets) != len(predictions) or not targets:
        raise ValueError(f"{len(targets)} targets and {len(predictions)} predictions")
    if labels is None:
        truth, given = (np.array([_number(text) for text in texts]) for texts in (targets, predictions))
        return Answers(truth, given, classes=0)
    ids = {label: i for i, label in enumerate(labels)}
    truth = _ids(targets, ids)
    if (truth < 0).any():
        raise ValueError(f"target {targets[int(np.argmin(truth))]!r} is none of the labels {', '.join(labels)}")
    return Answers(truth, _ids(predictions, ids), classes=len(labels))


def _ids(texts: Sequence[str], ids: dict[str, int]) -> NDArray[Any]:
    """Labels to ids, -1 for others; where all are one character, as labels mostly are, by one look-up for all."""
    joined = "".join(texts)
    if len(joined) != len(texts) or not joined.isascii() or min(map(len, texts)) != 1:
        return np.array([ids.get(text.strip(), -1) for text in texts])
    table = np.full(128, -1)
    for label, i in ids.items():
        if len(label) == 1 and label.isascii():
            table[ord(label)] = i
    return np.asarray(table[np.frombuffer(joined.encode(), dtype=np.uint8)])


@lru_cache(maxsize=4096)
def _number(text: str) -> float:
    text = text.strip()
    number = float(text) if NUMBER.fullmatch(text) else np.inf
    return number if abs(number) < 1e100 else UNPARSABLE


def measure(metric: str, answers: Answers, levels: Floats | None = None) -> Measure:
    """The metric over these answers. ``levels``: all numbers that a prediction may take, for Spearman's."""
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}")
    if (metric in NUMBER_METRICS) != (answers.classes == 0):
        raise ValueError(f"{metric} does not fit a task of {answers.classes or 'no'} classes")
    if metric == "pearson":
        return Measure(_moments(answers), _pearson)
    if metric == "spearman":
        return _spearman(answers, np.unique(answers.given) if levels is None else levels)
    given = answers.given
    if metric == "matthews":
        n = answers.classes + 1
        hits = (answers.truth == given)[:, None]
        return Measure(np.hstack([hits, _one_hot(answers.truth, n), _one_hot(given % n, n)]), _matthews)
    if answers.classes == 2:
        given = np.where(given < 0, 1 - answers.truth, given)
    if metric == "accuracy":
        return Measure((answers.truth == given)[:, None].astype(float), _accuracy_of(len(answers)))
    truth, said = (_one_hot(ids, answers.classes) for ids in (answers.truth, given))
    if metric == "f1":
        truth, said = truth[:, 1:], said[:, 1:]  # of the second label
    return Measure(np.hstack([truth * said, truth, said]), _f1)


def measures_of(metric: str, runs: Sequence[Answers], levels: Floats | None = None) -> list[Measure]:
    """The metric of each run; the mean of all of them is the runs' mean. For accuracy, which is linear, one of all."""
    measures = [measure(metric, run, levels) for run in runs]
    if metric != "accuracy":
        return measures
    return [Measure(np.mean([one.features for one in measures], axis=0), measures[0].value)]


def score(metrics: Sequence[str], answers: Answers) -> dict[str, float]:
    """Each metric, 0-100; equal to `krona.metrics.scores.score`."""
    measures = {metric: measure(metric, answers) for metric in metrics}
    return {metric: float(m.value(m.features.sum(0))) for metric, m in measures.items()}


def levels_of(runs: Sequence[Answers]) -> Floats:
    """All predicted numbers, at most `LEVELS`: beyond that, their quantiles."""
    values = np.unique(np.concatenate([run.given for run in runs]))
    return values if len(values) <= LEVELS else np.quantile(values, np.linspace(0, 1, LEVELS))


def ranks(values: Floats) -> Floats:
    """Ranks from 1, ties share their mean."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return _mid_ranks(counts.astype(float))[where]


def spearman_by_weight(answers: Answers, weights: Floats) -> Floats:
    """Spearman's of test sets drawn with repetition, 0-100: ``weights`` (draws, n) says how often each example came."""
    ranked, moments = [], []
    middle = (weights.sum(1, keepdims=True) + 1) / 2
    for values in (answers.truth, answers.given):
        levels, where = np.unique(values, return_inverse=True)
        counts = weights @ _one_hot(where, len(levels))
        by_level = _mid_ranks(counts) - middle  # (draws, levels)
        moments.append((counts * by_level**2).sum(1))
        ranked.append(by_level[:, where])
    together = np.einsum("dn,dn,dn->d", weights, *ranked)
    return _ratio(together, np.sqrt(moments[0] * moments[1]))


def _one_hot(ids: NDArray[Any], n: int) -> Floats:
    return np.asarray(ids[:, None] == np.arange(n), dtype=float)


def _mid_ranks(counts: Floats) -> Floats:
    """(..., K) occurrences of ascending values to the rank that each shares."""
    return np.cumsum(counts, -1) - (counts - 1) / 2


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """100 · top / bottom, 0 where bottom is 0."""
    safe = np.where(bottom > 0, bottom, 1.0)
    return np.asarray(np.where(bottom > 0, 100.0 * top / safe, 0.0))


def _accuracy_of(n: int) -> Callable[[Floats], Floats]:
    return lambda sums: sums[..., 0] * (100.0 / n)


def _f1(sums: Floats) -> Floats:
    hits, truth, said = np.split(sums, 3, axis=-1)
    each = _ratio(2 * hits, truth + said)
    seen = (truth + said) > 0  # a class that neither side names does not count
    return np.asarray(each.sum(-1) / np.maximum(seen.sum(-1), 1))


def _matthews(sums: Floats) -> Floats:
    hits, (truth, said) = sums[..., 0], np.split(sums[..., 1:], 2, axis=-1)
    n = truth.sum(-1)
    spread = (n**2 - (truth**2).sum(-1)) * (n**2 - (said**2).sum(-1))
    return _ratio(hits * n - (truth * said).sum(-1), np.sqrt(spread))


def _moments(answers: Answers) -> Floats:
    middle = answers.truth.mean()
    x, y = answers.truth - middle, answers.given - middle
    return np.stack([np.ones(len(x)), x, y, x * y, x * x, y * y], axis=1)


def _pearson(sums: Floats) -> Floats:
    n, x, y, xy, xx, yy = np.moveaxis(sums, -1, 0)
    spread_x, spread_y = n * xx - x * x, n * yy - y * y
    # What is left of a constant after rounding is no spread.
    flat = (spread_x <= 1e-12 * n * xx) | (spread_y <= 1e-12 * n * yy)
    return _ratio(n * xy - x * y, np.where(flat, 0.0, np.sqrt(np.abs(spread_x * spread_y))))


def _spearman(answers: Answers, levels: Floats) -> Measure:
    nearest = np.clip(np.searchsorted(levels, answers.given), 0, len(levels) - 1)
    said = _one_hot(nearest, len(levels))
    truth = ranks(answers.truth) - (len(answers) + 1) / 2
    spread = float((truth**2).sum())

    def value(sums: Floats) -> Floats:
        counts, truth_sums = np.split(sums, 2, axis=-1)
        middle = _mid_ranks(counts) - (len(answers) + 1) / 2
        return _ratio((middle * truth_sums).sum(-1), np.sqrt(spread * (counts * middle**2).sum(-1)))

    return Measure(np.hstack([said, said * truth[:, None]]), value)
