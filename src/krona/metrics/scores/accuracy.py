"""Accuracy."""

from .metric import Answers, Floats, Metric, Sums


class Accuracy(Metric):
    """Accuracy, the share of correct predictions. An invalid prediction is wrong."""

    linear = True

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        hits = answers.hits[:, None].astype(float)
        return Sums(hits, lambda sums: 100.0 * (sums[..., 0] / len(answers)))
