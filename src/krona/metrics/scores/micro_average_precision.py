"""Average precision of all pairs of a row and a label."""

from .average_precision import AveragePrecision


class MicroAveragePrecision(AveragePrecision):
    """Average precision of a multi-label task, of all pairs of a row and a label."""

    multilabel = True
    micro = True
