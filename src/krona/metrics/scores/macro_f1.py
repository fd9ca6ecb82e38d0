"""Macro F1."""

from .f1 import mean_f1
from .metric import Answers, Floats, Metric, Sums


class MacroF1(Metric):
    """Macro F1, the mean of F1 over classes.

    With two classes, an invalid prediction (a text that is not a label) is replaced by the label that is not the
    target.
    """

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        return mean_f1(answers, 0)
