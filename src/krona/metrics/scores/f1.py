"""F1."""

import numpy as np

from .metric import Answers, Floats, Metric, Sums, equal_parts, one_hot, ratio


class F1(Metric):
    """F1 for tasks with two labels. The second label is the positive class.

    An invalid prediction (a text that is not a label) is replaced by the label that is not the target.
    """

    classes = 2

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        return mean_f1(answers, 1)


def mean_f1(answers: Answers, first: int) -> Sums:
    """Return the `Sums` of the mean F1 over the classes with index ``first`` and above.

    Classes without targets and predictions are skipped.
    """
    return Sums(count_labels(answers, first), _value)


def count_labels(answers: Answers, first: int = 0) -> Floats:
    """Return indicators (n, 3 · classes) of hits, targets and predictions of the classes from ``first``."""
    targets, predictions = answers.targets, answers.predictions_with_invalid_flipped
    if not answers.is_multilabel:
        targets, predictions = (one_hot(ids, answers.classes)[:, first:] for ids in (targets, predictions))
    return np.hstack([targets * predictions, targets, predictions]).astype(float)


def f1_by_label(sums: Floats) -> Floats:
    """Return F1 (0 to 1) of each class from sums of `count_labels`."""
    hits, targets, predictions = equal_parts(sums, 3)
    return ratio(2 * hits, targets + predictions)


def _value(sums: Floats) -> Floats:
    _, targets, predictions = equal_parts(sums, 3)
    seen = (targets + predictions) > 0
    return np.asarray(100.0 * (f1_by_label(sums).sum(-1) / np.maximum(seen.sum(-1), 1)))
