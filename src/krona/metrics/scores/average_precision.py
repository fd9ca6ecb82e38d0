"""Average precision."""

import numpy as np

from .metric import Floats, ratio
from .ranking import Ranking


class AveragePrecision(Ranking):
    """Average precision, the area under the precision-recall curve as steps. With several classes, the mean of each.

    Without examples of the class, the value is 0.
    """

    undefined = 0.0

    def area(self, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
        hits, retrieved = (np.cumsum(counts[..., ::-1], -1)[..., ::-1] for counts in (positive, positive + negative))
        total = positive.sum(-1)
        return ratio((positive * ratio(hits, retrieved)).sum(-1), total), total > 0
