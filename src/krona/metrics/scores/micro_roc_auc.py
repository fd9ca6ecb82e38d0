"""Area under the ROC curve of all pairs of a row and a label."""

from .ranking import MicroRanking
from .roc_auc import RocAuc


class MicroRocAuc(MicroRanking, RocAuc):
    """Area under the ROC curve of a multi-label task, of all pairs of a row and a label."""
