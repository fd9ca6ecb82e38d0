"""Micro F1."""

import numpy as np

from .f1 import count_labels
from .metric import Answers, Floats, Metric, Sums, equal_parts, ratio


class MicroF1(Metric):
    """Micro F1 of a multi-label task: F1 of all pairs of a row and a label.

    An invalid prediction is replaced by all labels that are not in the target.
    """

    multilabel = True

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        hits, targets, predictions = (counts.sum(1, keepdims=True) for counts in equal_parts(count_labels(answers), 3))
        return Sums(np.hstack([hits, targets, predictions]), _value)


def _value(sums: Floats) -> Floats:
    hits, targets, predictions = (counts[..., 0] for counts in equal_parts(sums, 3))
    return 100.0 * ratio(2 * hits, targets + predictions)
