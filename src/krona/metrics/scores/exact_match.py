"""Exact match over groups."""

import numpy as np

from .metric import Answers, Floats, Metric, Sums


class ExactMatch(Metric):
    """Exact match, the share of groups (such as the answers to a question) with only correct predictions.

    Without groups, this is the accuracy.
    """

    linear = True

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        groups = np.arange(len(answers)) if answers.groups is None else answers.groups
        _, first, where = np.unique(groups, return_index=True, return_inverse=True)
        features = np.zeros((len(answers), 2))
        features[first, 0] = np.bincount(where, weights=answers.targets != answers.predictions) == 0
        features[first, 1] = 1
        return Sums(features, lambda sums: 100.0 * (sums[..., 0] / sums[..., 1]))
