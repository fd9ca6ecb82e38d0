"""Define the metrics. To add a metric, write a class derived from `Metric`, and add it to `METRICS` at the end."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from krona.metrics.scores.metric import Answers, Floats, Metric, Sums, mean_sums, one_hot, ratio

Mask = NDArray[np.bool_]


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

    def value(sums: Floats) -> Floats:
        _, targets, predictions = np.split(sums, 3, axis=-1)
        seen = (targets + predictions) > 0
        return np.asarray(100.0 * (f1_by_label(sums).sum(-1) / np.maximum(seen.sum(-1), 1)))

    return Sums(count_labels(answers, first), value)


def count_labels(answers: Answers, first: int = 0) -> Floats:
    """Return indicators (n, 3 · classes) of hits, targets and predictions of the classes from ``first``."""
    targets, predictions = answers.targets, answers.predictions_with_invalid_flipped
    if not answers.is_multilabel:
        targets, predictions = (one_hot(ids, answers.classes)[:, first:] for ids in (targets, predictions))
    return np.hstack([targets * predictions, targets, predictions]).astype(float)


def f1_by_label(sums: Floats) -> Floats:
    """Return F1 (0 to 1) of each class from sums of `count_labels`."""
    hits, targets, predictions = np.split(sums, 3, axis=-1)
    return ratio(2 * hits, targets + predictions)


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
        counts = count_labels(answers).reshape(len(answers), 3, answers.classes).sum(2)
        return Sums(counts, lambda sums: 100.0 * f1_by_label(sums)[..., 0])


class Matthews(Metric):
    """Matthews correlation. All invalid predictions form an additional class. A constant prediction scores 0."""

    def sums(self, answers: Answers) -> Sums:
        n = answers.classes + 1
        hits = (answers.targets == answers.predictions)[:, None]
        return Sums(np.hstack([hits, one_hot(answers.targets, n), one_hot(answers.predictions % n, n)]), _matthews)


def _matthews(sums: Floats) -> Floats:
    hits, (targets, predictions) = sums[..., 0], np.split(sums[..., 1:], 2, axis=-1)
    n = targets.sum(-1)
    spread = (n**2 - (targets**2).sum(-1)) * (n**2 - (predictions**2).sum(-1))
    return 100.0 * ratio(hits * n - (targets * predictions).sum(-1), np.sqrt(spread))


class LogLoss(Metric):
    """Logarithmic loss: the mean negative logarithm of the target's probability, in nats. Lower is better."""

    of_probabilities = True
    selects = False
    linear = True

    def sums(self, answers: Answers) -> Sums:
        assert answers.probabilities is not None
        of_target = answers.probabilities[np.arange(len(answers)), answers.targets]
        smallest = np.finfo(float).eps  # as in scikit-learn
        return mean_sums(-np.log(np.clip(of_target, smallest, 1 - smallest)))


class RocAuc(Metric):
    """Area under the ROC curve. With several classes, the mean of each class against all others.

    This is the probability that a random example of the class has a higher probability of the class than a random
    other example. Ties count half. If all examples have the same class, the value is that of chance, 50.
    A task with two classes uses the second class only. In a multi-label task, each label is a class. Classes without
    examples are left out.
    """

    of_probabilities = True
    ranked = True
    multilabel: ClassVar[bool | None] = None

    def redrawn_scores(self, runs: Sequence[Answers], weights: Floats) -> Floats:
        return np.stack([
            _mean([_area(*pair, weights) for pair in self._by_class(run)]) for run in runs
        ])  # fmt: skip

    def _by_class(self, answers: Answers) -> list[tuple[Mask, Floats]]:
        """Return, for each class that counts, whether each example has this class, and its probability, (n, 1)."""
        is_class, probabilities = _pairs(answers)
        classes = [1] if answers.classes == 2 and not answers.is_multilabel else range(answers.classes)
        return [(is_class[:, [label]], probabilities[:, [label]]) for label in classes]


class MicroRocAuc(RocAuc):
    """Area under the ROC curve of a multi-label task, of all pairs of a row and a label together."""

    multilabel = True

    def redrawn_scores(self, runs: Sequence[Answers], weights: Floats) -> Floats:
        # Each draw has a weight for each pair. Some draws at a time need less memory.
        redraw, chunks = super().redrawn_scores, np.array_split(weights, min(len(weights), runs[0].classes))
        return np.concatenate([redraw(runs, chunk) for chunk in chunks], axis=1)

    def _by_class(self, answers: Answers) -> list[tuple[Mask, Floats]]:
        return [_pairs(answers)]


def _pairs(answers: Answers) -> tuple[Mask, Floats]:
    """Return whether each example has each class, and the probability of each class, (n, classes)."""
    assert answers.probabilities is not None
    is_class = answers.targets if answers.is_multilabel else one_hot(answers.targets, answers.classes)
    return is_class == 1, answers.probabilities


def _area(is_class: Mask, probabilities: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the area (from 0 to 1) of each draw, and whether it is defined."""
    order = np.argsort(probabilities, axis=None, kind="stable")
    ordered = probabilities.ravel()[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    drawn, is_class = weights[:, order // probabilities.shape[1]], is_class.ravel()[order]
    # The numbers of drawn examples of the class, and of other examples, with each probability, (draws, levels).
    positive, negative = (np.add.reduceat(drawn * mask, starts, axis=1) for mask in (is_class, ~is_class))
    below = np.cumsum(negative, -1) - negative / 2
    pairs = positive.sum(-1) * negative.sum(-1)
    return ratio((positive * below).sum(-1), pairs), pairs > 0


def _mean(areas: Sequence[tuple[Floats, Floats]]) -> Floats:
    each = np.array([area for area, _ in areas])
    defined = np.array([is_defined for _, is_defined in areas], dtype=float)
    total = defined.sum(0)
    mean = (each * defined).sum(0) / np.maximum(total, 1)
    return np.asarray(100.0 * np.where(total > 0, mean, 0.5))


class Pearson(Metric):
    """Pearson correlation of numbers. An invalid prediction is replaced by -1."""

    of_numbers = True

    def sums(self, answers: Answers) -> Sums:
        middle = answers.targets.mean()
        # Without their mean, the sums are exact also if the predictions are nearly equal.
        x, y = answers.targets - middle, answers.predictions - answers.predictions.mean()
        return Sums(np.stack([np.ones(len(x)), x, y, x * y, x * x, y * y], axis=1), _pearson)


def _pearson(sums: Floats) -> Floats:
    n, x, y, xy, xx, yy = np.moveaxis(sums, -1, 0)
    spread_x, spread_y = n * xx - x * x, n * yy - y * y
    # A variance that is only the rounding error of constant values is set to 0.
    flat = (spread_x <= 1e-12 * n * xx) | (spread_y <= 1e-12 * n * yy)
    return 100.0 * ratio(n * xy - x * y, np.where(flat, 0.0, np.sqrt(np.abs(spread_x * spread_y))))


class Spearman(Metric):
    """Spearman correlation of numbers. An invalid prediction is replaced by -1.

    This metric is not a function of sums over examples, because each example changes the ranks.
    """

    of_numbers = True
    ranked = True

    def redrawn_scores(self, runs: Sequence[Answers], weights: Floats) -> Floats:
        target_ranks, target_spread = _redrawn_ranks(runs[0].targets, weights)
        target_ranks *= weights
        scores = []
        for run in runs:
            ranks, spread = _redrawn_ranks(run.predictions, weights)
            scores.append(100.0 * ratio(np.einsum("dn,dn->d", target_ranks, ranks), np.sqrt(target_spread * spread)))
        return np.stack(scores)


def _redrawn_ranks(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return each example's rank in the drawn test sets (draws, n), with mean 0, and the sums of their squares."""
    levels, where = np.unique(values, return_inverse=True)
    order = np.argsort(where, kind="stable")
    counts = np.add.reduceat(weights[:, order], np.searchsorted(where[order], np.arange(len(levels))), axis=1)
    mean_ranks = np.cumsum(counts, -1) - (counts - 1) / 2  # of each distinct value, in ascending order
    by_level = mean_ranks - (weights.sum(1, keepdims=True) + 1) / 2
    return by_level[:, where], (counts * by_level**2).sum(1)


METRICS: dict[str, Metric] = {
    "accuracy": Accuracy(),
    "exact_match": ExactMatch(),
    "f1": F1(),
    "log_loss": LogLoss(),
    "macro_f1": MacroF1(),
    "matthews": Matthews(),
    "micro_f1": MicroF1(),
    "micro_roc_auc": MicroRocAuc(),
    "pearson": Pearson(),
    "roc_auc": RocAuc(),
    "spearman": Spearman(),
    "subset_accuracy": SubsetAccuracy(),
}
