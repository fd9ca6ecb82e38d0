"""Macro F1."""

from .f1 import count_labels, f1_by_label, mean_f1
from .metric import Answers, Floats, Metric, Sums


class MacroF1(Metric):
    """Macro F1, the mean of F1 over classes.

    With two classes, an invalid prediction (a text that is not a label) is replaced by the label that is not the
    target. In a multi-label task, F1 of a class without targets and predictions is 0.
    """

    multilabel = None

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        if not answers.is_multilabel:
            return mean_f1(answers, 0)
        return Sums(count_labels(answers), lambda sums: 100.0 * f1_by_label(sums).mean(-1))
