"""Accuracy, the share of correct predictions. An invalid prediction is wrong."""

import numpy as np

from krona.metrics.answers import Answers
from krona.metrics.metric import Floats, Metric, Sums


def _score(answers: Answers) -> float:
    return float(np.mean(answers.truth == answers.given))


def _sums(answers: Answers, values: Floats | None) -> Sums:
    hits = (answers.truth == answers.given)[:, None].astype(float)
    return Sums(hits, lambda sums: sums[..., 0] * (100.0 / len(answers)))


METRIC = Metric(score=_score, sums=_sums, linear=True)
