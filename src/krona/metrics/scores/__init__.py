"""Compute metrics by name. `krona.metrics.scores.definitions` defines them.

Scores range from 0 to 100, and correlations from -100 to 100.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from krona.messages import did_you_mean
from krona.metrics.scores.definitions import METRICS as METRICS
from krona.metrics.scores.metric import Answers, Metric, Sums, encode


def score(
    metrics: Sequence[str],
    targets: Sequence[str],
    predictions: Sequence[str],
    labels: Sequence[str] | None,
    groups: Sequence[int] | None = None,
    scores: Sequence[Sequence[float | None]] | None = None,
    *,
    multilabel: bool = False,
) -> dict[str, float]:
    """Return the scores of predictions by metric name.

    The arguments and errors are those of `encode`. The second of two labels is the positive class of F1.
    """
    return score_answers(metrics, encode(targets, predictions, labels, groups, scores, multilabel=multilabel))


def score_answers(metrics: Sequence[str], answers: Answers) -> dict[str, float]:
    """Return the scores of encoded predictions by metric name.

    Raises:
        ValueError: a metric is unknown or not defined for the task, or needs probabilities that are not known.
    """
    if answers.probabilities is None and (missing := need_scores(metrics)):
        raise ValueError(f"The metric '{missing[0]}' needs the probability of each label.")
    by_name = {name: get_metric(name, answers.classes, multilabel=answers.is_multilabel) for name in metrics}
    return {name: metric.score(answers) for name, metric in by_name.items()}


def criteria(metrics: Sequence[str]) -> list[str]:
    """Return the metrics that can select an epoch and be the task's score."""
    return [name for name in metrics if name not in METRICS or METRICS[name].selects]


def need_scores(metrics: Sequence[str]) -> list[str]:
    """Return the metrics that are computed from the probability of each class."""
    return [name for name in metrics if name in METRICS and METRICS[name].of_probabilities]


def compute_sums(name: str, runs: Sequence[Answers]) -> list[Sums]:
    """Return the `Sums` of a metric for each run. For a linear metric, return a list with only the mean over runs.

    If the examples have groups, the features are sums over the examples of each group.
    """
    metric = get_metric(name, runs[0].classes, multilabel=runs[0].is_multilabel)
    each = [_add_by_group(metric.sums(run), run) for run in runs]
    if not metric.linear or len(each) == 1:
        return each
    return [replace(each[0], features=np.mean([sums.features for sums in each], axis=0))]


def _add_by_group(sums: Sums, answers: Answers) -> Sums:
    if answers.groups is None:
        return sums
    features = np.zeros((answers.units, sums.features.shape[1]))
    np.add.at(features, answers.groups, sums.features)
    return replace(sums, features=features)


@lru_cache(maxsize=256)
def get_metric(name: str, classes: int, *, multilabel: bool = False) -> Metric:
    """Return the metric with this name.

    Raises:
        ValueError: the metric is unknown, or is not defined for this number of classes. 0 classes mean a regression.
    """
    if name not in METRICS:
        raise ValueError(f"unknown metric '{name}': {did_you_mean(name, METRICS)}")
    metric = METRICS[name]
    if metric.fits(classes, multilabel=multilabel):
        return metric
    several = "several labels per row (kind: multilabel)"
    kind = "numbers (labels: null)" if metric.of_numbers else f"{metric.classes or ''} classes".strip()
    kind = several if metric.multilabel else f"{kind}, one per row" if multilabel else kind
    given = f"has {several if multilabel else f'{classes} classes'}" if classes else "is a regression (labels: null)"
    others = ", ".join(other for other, candidate in METRICS.items() if candidate.fits(classes, multilabel=multilabel))
    raise ValueError(f"the metric '{name}' is for {kind}, but the task {given}. Use {others}")
