"""Accuracy, the share of correct predictions. An invalid prediction is wrong."""

from krona.metrics.answers import Answers
from krona.metrics.metric import Floats, Metric, Sums


def _sums(answers: Answers, values: Floats | None) -> Sums:
    hits = (answers.truth == answers.given)[:, None].astype(float)
    return Sums(hits, lambda sums: 100.0 * (sums[..., 0] / len(answers)))


METRIC = Metric(sums=_sums, linear=True)
