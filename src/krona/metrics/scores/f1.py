"""F1."""

import numpy as np

from .metric import Answers, Floats, Metric, Sums, one_hot, ratio, split


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
    truth, given = (one_hot(ids, answers.classes)[:, first:] for ids in (answers.truth, answers.as_wrong))
    return Sums(np.hstack([truth * given, truth, given]), _value)


def _value(sums: Floats) -> Floats:
    hits, truth, given = split(sums, 3)
    each = ratio(2 * hits, truth + given)
    seen = (truth + given) > 0
    return np.asarray(100.0 * (each.sum(-1) / np.maximum(seen.sum(-1), 1)))
