"""Logarithmic loss."""

import numpy as np

from .metric import Answers, Floats, Metric, Sums, mean_sums


class LogLoss(Metric):
    """Logarithmic loss: the mean negative logarithm of the target's probability, in nats. Lower is better."""

    of_probabilities = True
    selects = False
    linear = True

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        assert answers.probabilities is not None
        of_target = answers.probabilities[np.arange(len(answers)), answers.targets]
        smallest = np.finfo(float).eps  # as in scikit-learn
        return mean_sums(-np.log(np.clip(of_target, smallest, 1 - smallest)))
