"""Compute metrics by name. Each file of this package defines one metric, which is found on import.

Scores range from 0 to 100, and correlations from -100 to 100.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

import numpy as np

from krona.messages import did_you_mean
from krona.metrics.answers import Answers, encode
from krona.metrics.metric import Floats, Metric, Sums


def find_metrics() -> dict[str, Metric]:
    """Return a dict from the name of each file of this package to its ``METRIC``."""
    names = sorted(module.name for module in iter_modules(__path__))
    return {name: import_module(f"{__name__}.{name}").METRIC for name in names}


METRICS = find_metrics()


def score(
    metrics: Sequence[str], targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str] | None
) -> dict[str, float]:
    """Return a dict from the name of each metric to its score.

    The arguments and errors are those of `encode`. The second of two labels is the positive class of F1.
    """
    return score_by_sums(metrics, encode(targets, predictions, labels))


def score_by_sums(metrics: Sequence[str], answers: Answers) -> dict[str, float]:
    """Return a dict from the name of each metric to the score of encoded predictions."""
    return {name: _score_by_sums(get_metric(name, answers.classes), answers) for name in metrics}


def _score_by_sums(metric: Metric, answers: Answers) -> float:
    if metric.redrawn_scores is not None:  # its sums need a matrix of examples and distinct predictions
        found = metric.redrawn_scores([answers], np.ones((1, len(answers))))[0, 0]
    else:
        sums = metric.sums(answers, None)
        found = sums.value(sums.features.sum(0))
    return float(np.clip(found, -100.0, 100.0))  # rounding may give 100.00000000000001 for a correlation


def compute_sums(name: str, runs: Sequence[Answers], values: Floats | None = None) -> list[Sums]:
    """Return the `Sums` of a metric for each run. For a linear metric, return a list with only the mean over runs.

    ``values`` are all values that a prediction can have. None means that each run uses its own predicted values.
    """
    metric = get_metric(name, runs[0].classes)
    each = [metric.sums(run, values) for run in runs]
    if not metric.linear or len(each) == 1:
        return each
    return [replace(each[0], features=np.mean([one.features for one in each], axis=0))]


def get_metric(name: str, classes: int) -> Metric:
    """Return the metric with this name.

    Raises ValueError if the metric is unknown or does not fit this number of classes. 0 classes mean a regression.
    """
    if name not in METRICS:
        raise ValueError(f"unknown metric '{name}': {did_you_mean(name, METRICS)}")
    metric = METRICS[name]
    if metric.of_numbers == (classes == 0) and metric.classes in (None, classes):
        return metric
    if not classes:
        numbers = ", ".join(other for other in METRICS if METRICS[other].of_numbers)
        raise ValueError(
            f"the metric '{name}' is for classes, but labels: null makes the task a regression. Use {numbers}"
        )
    others = ", ".join(other for other, one in METRICS.items() if not one.of_numbers and one.classes in (None, classes))
    kind = "numbers (labels: null)" if metric.of_numbers else f"{metric.classes} classes"
    raise ValueError(f"the metric '{name}' is for {kind}, but the task has {classes} classes. Use {others}")
