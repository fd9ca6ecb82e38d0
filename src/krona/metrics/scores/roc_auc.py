"""Area under the ROC curve."""

import numpy as np

from .metric import Floats, ratio
from .ranking import Ranking


class RocAuc(Ranking):
    """Area under the ROC curve. With several classes, the mean of each class against all others.

    This is the probability that a random example of the class has a higher probability of the class than a random
    other example. Ties count half. If all examples have the same class, the value is that of chance, 50.
    """

    undefined = 0.5

    def area(self, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
        below = np.cumsum(negative, -1) - negative / 2
        pairs = positive.sum(-1) * negative.sum(-1)
        return ratio((positive * below).sum(-1), pairs), pairs > 0
