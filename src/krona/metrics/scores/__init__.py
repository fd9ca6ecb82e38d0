"""Metrics, one file each, discovered on import; scores in 0-100 (correlations: -100 to 100)."""

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

import numpy as np

from krona.messages import did_you_mean
from krona.metrics.answers import Answers, encode
from krona.metrics.metric import Floats, Metric, Sums


def find_metrics() -> dict[str, Metric]:
    """Return the ``METRIC`` of every file of this package, by the file's name."""
    names = sorted(module.name for module in iter_modules(__path__))
    return {name: import_module(f"{__name__}.{name}").METRIC for name in names}


METRICS = find_metrics()


def score(
    metrics: Sequence[str], targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str] | None
) -> dict[str, float]:
    """Return the scores by the libraries.

    Args:
        labels: all target strings in the order of their ids; the second of two is F1's positive class. None for a
            regression.

    Raises:
        ValueError: an unknown metric or one that does not fit, unequal lengths, no rows.
    """
    scores = {}
    for name in metrics:
        numbers = name in METRICS and METRICS[name].of_numbers
        answers = encode(targets, predictions, None if numbers else labels)
        scores[name] = 100.0 * get_metric(name, answers.classes).score(answers)
    return scores


def score_by_sums(metrics: Sequence[str], answers: Answers) -> dict[str, float]:
    """Return the scores of `score` without its libraries."""
    sums = {name: compute_sums(name, [answers])[0] for name in metrics}
    return {name: float(one.value(one.features.sum(0))) for name, one in sums.items()}


def compute_sums(name: str, runs: Sequence[Answers], values: Floats | None = None) -> list[Sums]:
    """Return the sums of each run; for a linear metric, one mean of them for all runs.

    Args:
        values: all values that a prediction can take; None: those of each run.
    """
    metric, classes = get_metric(name, runs[0].classes), runs[0].classes
    if metric.of_numbers and classes:
        raise ValueError(f"{name} does not fit a task of {classes} classes.")
    each = [metric.sums(run, np.unique(run.given) if values is None else values) for run in runs]
    return [replace(each[0], features=np.mean([one.features for one in each], axis=0))] if metric.linear else each


def get_metric(name: str, classes: int) -> Metric:
    """Return a metric. Raises ValueError if it is unknown, or not for this number of classes (0: a regression)."""
    if name not in METRICS:
        raise ValueError(f"unknown metric '{name}': {did_you_mean(name, METRICS)}")
    metric = METRICS[name]
    if metric.of_numbers or (classes and metric.classes in (None, classes)):
        return metric
    if not classes:
        numbers = ", ".join(other for other in METRICS if METRICS[other].of_numbers)
        raise ValueError(f"'{name}' is for classes, but labels: null makes the task a regression. Use {numbers}")
    others = ", ".join(other for other, one in METRICS.items() if not one.of_numbers and one.classes in (None, classes))
    raise ValueError(f"'{name}' is for {metric.classes} classes, but the task has {classes}. Use {others}")
