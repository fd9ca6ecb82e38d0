"""Matthews correlation."""

import numpy as np

from .metric import Answers, Floats, Metric, Sums, equal_parts, one_hot, ratio


class Matthews(Metric):
    """Matthews correlation. All invalid predictions form an additional class. A constant prediction scores 0."""

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        n = answers.classes + 1
        hits = (answers.targets == answers.predictions)[:, None]
        return Sums(np.hstack([hits, one_hot(answers.targets, n), one_hot(answers.predictions % n, n)]), _value)


def _value(sums: Floats) -> Floats:
    hits, (targets, predictions) = sums[..., 0], equal_parts(sums[..., 1:], 2)
    n = targets.sum(-1)
    spread = (n**2 - (targets**2).sum(-1)) * (n**2 - (predictions**2).sum(-1))
    return 100.0 * ratio(hits * n - (targets * predictions).sum(-1), np.sqrt(spread))
