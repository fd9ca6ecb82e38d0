"""Macro F1, the mean of F1 over classes.

With two classes, an invalid prediction (a text that is not a label) is replaced by the label that is not the target.
"""

from krona.metrics.metric import Metric
from krona.metrics.scores.f1 import mean_f1

METRIC = Metric(sums=lambda answers, values: mean_f1(answers, 0))
