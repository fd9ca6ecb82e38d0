"""Accuracy, exact match, F1 and the Matthews correlation of predicted labels."""

import numpy as np

from .metric import Answers, Floats, Metric, Sums, equal_parts, mean_sums, one_hot, ratio


class Accuracy(Metric):
    """Accuracy, the share of correct predictions. An invalid prediction is wrong."""

    linear = True

    def sums(self, answers: Answers) -> Sums:
        return mean_sums(answers.hits, scale=100.0)


class SubsetAccuracy(Accuracy):
    """Subset accuracy of a multi-label task: the share of rows of which all labels are correct."""

    multilabel = True


class ExactMatch(Metric):
    """Exact match, the share of groups (such as the answers to a question) with only correct predictions.

    Without groups, this is the accuracy.
    """

    linear = True

    def sums(self, answers: Answers) -> Sums:
        groups = np.arange(len(answers)) if answers.groups is None else answers.groups
        _, first, where = np.unique(groups, return_index=True, return_inverse=True)
        features = np.zeros((len(answers), 2))
        features[first, 0] = np.bincount(where, weights=answers.targets != answers.predictions) == 0
        features[first, 1] = 1
        return Sums(features, lambda sums: 100.0 * (sums[..., 0] / sums[..., 1]))


class F1(Metric):
    """F1 for tasks with two labels. The second label is the positive class.

    An invalid prediction (a text that is not a label) is replaced by the label that is not the target.
    """

    classes = 2

    def sums(self, answers: Answers) -> Sums:
        return mean_f1(answers, 1)


def mean_f1(answers: Answers, first: int) -> Sums:
    """Return the `Sums` of the mean F1 over the classes with index ``first`` and above.

    Classes without targets and predictions are skipped.
    """
    return Sums(count_labels(answers, first), _mean_f1)


def count_labels(answers: Answers, first: int = 0) -> Floats:
    """Return indicators (n, 3 · classes) of hits, targets and predictions of the classes from ``first``."""
    targets, predictions = answers.targets, answers.predictions_with_invalid_flipped
    if not answers.is_multilabel:
        targets, predictions = (one_hot(ids, answers.classes)[:, first:] for ids in (targets, predictions))
    return np.hstack([targets * predictions, targets, predictions]).astype(float)


def f1_by_label(sums: Floats) -> Floats:
    """Return F1 (0 to 1) of each class from sums of `count_labels`."""
    hits, targets, predictions = equal_parts(sums, 3)
    return ratio(2 * hits, targets + predictions)


def _mean_f1(sums: Floats) -> Floats:
    _, targets, predictions = equal_parts(sums, 3)
    seen = (targets + predictions) > 0
    return np.asarray(100.0 * (f1_by_label(sums).sum(-1) / np.maximum(seen.sum(-1), 1)))


class MacroF1(Metric):
    """Macro F1, the mean of F1 over classes.

    With two classes, an invalid prediction (a text that is not a label) is replaced by the label that is not the
    target. In a multi-label task, F1 of a class without targets and predictions is 0.
    """

    multilabel = None

    def sums(self, answers: Answers) -> Sums:
        if not answers.is_multilabel:
            return mean_f1(answers, 0)
        return Sums(count_labels(answers), lambda sums: 100.0 * f1_by_label(sums).mean(-1))


class MicroF1(Metric):
    """Micro F1 of a multi-label task: F1 of all pairs of a row and a label.

    An invalid prediction is replaced by all labels that are not in the target.
    """

    multilabel = True

    def sums(self, answers: Answers) -> Sums:
        hits, targets, predictions = (counts.sum(1, keepdims=True) for counts in equal_parts(count_labels(answers), 3))
        return Sums(np.hstack([hits, targets, predictions]), _micro_f1)


def _micro_f1(sums: Floats) -> Floats:
    hits, targets, predictions = (counts[..., 0] for counts in equal_parts(sums, 3))
    return 100.0 * ratio(2 * hits, targets + predictions)


class Matthews(Metric):
    """Matthews correlation. All invalid predictions form an additional class. A constant prediction scores 0."""

    def sums(self, answers: Answers) -> Sums:
        n = answers.classes + 1
        hits = (answers.targets == answers.predictions)[:, None]
        return Sums(np.hstack([hits, one_hot(answers.targets, n), one_hot(answers.predictions % n, n)]), _matthews)


def _matthews(sums: Floats) -> Floats:
    hits, (targets, predictions) = sums[..., 0], equal_parts(sums[..., 1:], 2)
    n = targets.sum(-1)
    spread = (n**2 - (targets**2).sum(-1)) * (n**2 - (predictions**2).sum(-1))
    return 100.0 * ratio(hits * n - (targets * predictions).sum(-1), np.sqrt(spread))
