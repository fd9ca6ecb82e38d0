"""Subset accuracy."""

from .accuracy import Accuracy


class SubsetAccuracy(Accuracy):
    """Subset accuracy of a multi-label task: the share of rows of which all labels are correct."""

    multilabel = True
