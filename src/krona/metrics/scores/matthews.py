"""Matthews correlation. All invalid predictions form an additional class. A constant prediction scores 0."""

import numpy as np

from krona.metrics.answers import Answers
from krona.metrics.metric import Floats, Metric, Sums, one_hot, ratio, split


def _sums(answers: Answers, values: Floats | None) -> Sums:
    n = answers.classes + 1
    hits = (answers.truth == answers.given)[:, None]
    return Sums(np.hstack([hits, one_hot(answers.truth, n), one_hot(answers.given % n, n)]), _value)


def _value(sums: Floats) -> Floats:
    hits, (truth, given) = sums[..., 0], split(sums[..., 1:], 2)
    n = truth.sum(-1)
    spread = (n**2 - (truth**2).sum(-1)) * (n**2 - (given**2).sum(-1))
    return 100.0 * ratio(hits * n - (truth * given).sum(-1), np.sqrt(spread))


METRIC = Metric(sums=_sums)
