"""Matthews correlation."""

import numpy as np

from .metric import Answers, Floats, Metric, Sums, one_hot, ratio, split


class Matthews(Metric):
    """Matthews correlation. All invalid predictions form an additional class. A constant prediction scores 0."""

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        n = answers.classes + 1
        hits = (answers.truth == answers.given)[:, None]
        return Sums(np.hstack([hits, one_hot(answers.truth, n), one_hot(answers.given % n, n)]), _value)


def _value(sums: Floats) -> Floats:
    hits, (truth, given) = sums[..., 0], split(sums[..., 1:], 2)
    n = truth.sum(-1)
    spread = (n**2 - (truth**2).sum(-1)) * (n**2 - (given**2).sum(-1))
    return 100.0 * ratio(hits * n - (truth * given).sum(-1), np.sqrt(spread))
