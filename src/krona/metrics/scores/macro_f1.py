"""Macro F1, the mean of F1 over classes.

With two classes, an invalid prediction (a text that is not a label) is replaced by the label that is not the target.
"""

from krona.metrics.answers import Answers
from krona.metrics.metric import Metric
from krona.metrics.scores.f1 import mean_f1


def _score(answers: Answers) -> float:
    from sklearn.metrics import f1_score

    given = answers.as_wrong
    # Skip classes without targets and predictions, whose F1 would be 0. An invalid prediction is in no class.
    seen = [i for i in range(answers.classes) if i in answers.truth or i in given]
    return float(f1_score(answers.truth, given, labels=seen, average="macro", zero_division=0.0))


METRIC = Metric(score=_score, sums=lambda answers, values: mean_f1(answers, 0))
