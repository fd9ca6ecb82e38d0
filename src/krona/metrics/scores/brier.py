"""Brier score."""

from .metric import Answers, Floats, Metric, Sums, mean_sums, one_hot


class Brier(Metric):
    """Brier score: half of the mean squared distance between the probabilities and the target. Lower is better."""

    of_scores = True
    selects = False
    linear = True

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        assert answers.scores is not None
        distances = ((answers.scores - one_hot(answers.truth, answers.classes)) ** 2).sum(1)
        return mean_sums(distances, scale=50.0)
