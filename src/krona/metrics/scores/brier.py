"""Brier score."""

from .metric import Answers, Floats, Metric, Sums, mean_sums, one_hot


class Brier(Metric):
    """Brier score: half of the mean squared distance between the probabilities and the target. Lower is better."""

    of_probabilities = True
    selects = False
    linear = True

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        assert answers.probabilities is not None
        distances = ((answers.probabilities - one_hot(answers.targets, answers.classes)) ** 2).sum(1)
        return mean_sums(distances, scale=50.0)
