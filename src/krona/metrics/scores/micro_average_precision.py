"""Average precision of all pairs of a row and a label."""

from .average_precision import AveragePrecision
from .ranking import MicroRanking


class MicroAveragePrecision(MicroRanking, AveragePrecision):
    """Average precision of a multi-label task, of all pairs of a row and a label."""
