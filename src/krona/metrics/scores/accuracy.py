"""Accuracy."""

from .metric import Answers, Floats, Metric, Sums, mean_sums


class Accuracy(Metric):
    """Accuracy, the share of correct predictions. An invalid prediction is wrong."""

    linear = True

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        return mean_sums(answers.hits, scale=100.0)
