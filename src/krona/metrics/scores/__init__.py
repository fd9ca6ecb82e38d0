"""Compute metrics by name. Each file of this package but `metric` defines one metric, which is found on import.

Scores range from 0 to 100, and correlations from -100 to 100.
"""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np

from krona.messages import did_you_mean
from krona.metrics.scores.metric import Answers, Floats, Metric, Sums, encode


def find_metrics() -> dict[str, Metric]:
    """Return the metrics by the names of their files."""
    found: dict[str, Metric] = {}
    for name in sorted(module.name for module in iter_modules(__path__)):
        module = import_module(f"{__name__}.{name}")
        for _, one in inspect.getmembers(module, inspect.isclass):
            if issubclass(one, Metric) and one.__module__ == module.__name__ and not inspect.isabstract(one):
                found[name] = one()
    return found


METRICS = find_metrics()


def score(
    metrics: Sequence[str],
    targets: Sequence[str],
    predictions: Sequence[str],
    labels: Sequence[str] | None,
    groups: Sequence[int] | None = None,
) -> dict[str, float]:
    """Return the scores of predictions by metric name.

    The arguments and errors are those of `encode`. The second of two labels is the positive class of F1.
    """
    return score_answers(metrics, encode(targets, predictions, labels, groups))


def score_answers(metrics: Sequence[str], answers: Answers) -> dict[str, float]:
    """Return the scores of encoded predictions by metric name."""
    return {name: get_metric(name, answers.classes).score(answers) for name in metrics}


def score_by_evaluate(
    metrics: Sequence[str],
    targets: Sequence[str],
    predictions: Sequence[str],
    labels: Sequence[str] | None,
    groups: Sequence[int] | None = None,
) -> dict[str, float]:
    """Return what `score` returns, computed by the modules that `evaluate.load` imports from the metrics' files.

    Importing `evaluate` takes a second, so only runs use this function.
    """
    texts = {"references": list(targets), "predictions": list(predictions)}
    return {name: float(_load(name).compute(**texts, labels=labels, groups=groups)[name]) for name in metrics}


@cache
def _load(name: str) -> Any:
    import evaluate

    # Keep the texts in memory. On disk, the lock file of a failed computation would block all later computations.
    return evaluate.load(inspect.getfile(type(METRICS[name])), keep_in_memory=True)


def compute_sums(name: str, runs: Sequence[Answers], values: Floats | None = None) -> list[Sums]:
    """Return the `Sums` of a metric for each run. For a linear metric, return a list with only the mean over runs.

    If the examples have groups, the features are sums over the examples of each group.
    ``values`` are all values that a prediction can have. None means that each run uses its own predicted values.
    """
    metric = get_metric(name, runs[0].classes)
    each = [_add_by_group(metric.sums(run, values), run) for run in runs]
    if not metric.linear or len(each) == 1:
        return each
    return [replace(each[0], features=np.mean([one.features for one in each], axis=0))]


def _add_by_group(sums: Sums, answers: Answers) -> Sums:
    if answers.groups is None:
        return sums
    features = np.zeros((answers.units, sums.features.shape[1]))
    np.add.at(features, answers.groups, sums.features)
    return replace(sums, features=features)


def get_metric(name: str, classes: int) -> Metric:
    """Return the metric with this name.

    Raises:
        ValueError: the metric is unknown, or is not defined for this number of classes. 0 classes mean a regression.
    """
    if name not in METRICS:
        raise ValueError(f"unknown metric '{name}': {did_you_mean(name, METRICS)}")
    metric = METRICS[name]
    if metric.fits(classes):
        return metric
    kind = "numbers (labels: null)" if metric.of_numbers else f"{metric.classes or ''} classes".strip()
    found = f"has {classes} classes" if classes else "is a regression (labels: null)"
    others = ", ".join(other for other, one in METRICS.items() if one.fits(classes))
    raise ValueError(f"the metric '{name}' is for {kind}, but the task {found}. Use {others}")
