"""Expected calibration error."""

import numpy as np

from .metric import Answers, Floats, Metric, Sums, one_hot

BINS = 15


class Ece(Metric):
    """Expected calibration error (Guo et al. 2017) with 15 bins of equal width. Lower is better.

    The bins divide the examples by the highest probability. The error is the mean distance between this probability
    and the accuracy of the bins, weighted by their numbers of examples.
    """

    of_probabilities = True
    selects = False

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        assert answers.probabilities is not None
        highest, hits = answers.probabilities.max(1), answers.probabilities.argmax(1) == answers.targets
        bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], highest)
        gaps = one_hot(bins, BINS) * (hits - highest)[:, None]
        features = np.hstack([gaps, np.ones((len(answers), 1))])
        return Sums(features, lambda sums: 100.0 * (np.abs(sums[..., :-1]).sum(-1) / sums[..., -1]))
