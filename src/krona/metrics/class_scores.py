"""Compute the scores of each class, the confusion matrix, and the errors of a regression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from krona.metrics.scores.metric import Answers, Floats, ratio


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 (0 to 100) and the number of rows, each as an array over classes.

    As in `sklearn.metrics.classification_report`, classes without targets and predictions are left out, and a score
    that is 0 / 0 is 0.
    """

    ids: NDArray[Any]  # the ids of the classes
    precision: Floats
    recall: Floats
    f1: Floats
    rows: NDArray[Any]  # the number of targets

    def averages(self) -> dict[str, list[float]]:
        """Return the macro and the weighted average of precision, recall and F1."""
        columns = (self.precision, self.recall, self.f1)
        return {
            "macro average": [float(np.mean(column)) for column in columns],
            "weighted average": [float(ratio((column * self.rows).sum(), self.rows.sum())) for column in columns],
        }


def confusion(answers: Answers) -> NDArray[Any]:
    """Return the number of rows by target and prediction, (classes, classes + 1).

    The last column counts the predictions that are not a label. A multi-label task has no such matrix.
    """
    counts = np.zeros((answers.classes, answers.classes + 1), dtype=int)
    np.add.at(counts, (answers.targets, answers.predictions), 1)  # an invalid prediction is -1
    return counts


def class_scores(answers: Answers) -> ClassScores:
    """Return the scores of each class.

    As in the metrics, an invalid prediction of a task with two classes counts as the label that is not the target.
    """
    targets, predictions = answers.targets, answers.predictions_with_invalid_flipped
    if answers.is_multilabel:
        ids = np.arange(answers.classes)
        counts = [matrix.sum(0) for matrix in (targets * predictions, targets, predictions)]
    else:
        by_kind = (targets[targets == predictions], targets, predictions[predictions >= 0])
        counts = [np.bincount(kind, minlength=answers.classes) for kind in by_kind]
        ids = np.flatnonzero(counts[1] + counts[2])
    hits, targets, predictions = (count[ids] for count in counts)
    precision, recall, f1 = ratio(hits, predictions), ratio(hits, targets), ratio(2 * hits, targets + predictions)
    return ClassScores(ids, 100 * precision, 100 * recall, 100 * f1, targets)


def confused_pairs(counts: NDArray[Any], most: int) -> Sequence[tuple[int, int, float]]:
    """Return the most frequent wrong pairs of `confusion` as tuples (target, prediction, rows)."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(at) // wrong.shape[1], int(at) % wrong.shape[1]) for at in order]
    return [(target, given, float(wrong[target, given])) for target, given in pairs if wrong[target, given]]


def residuals(answers: Answers) -> dict[str, float]:
    """Return the mean error, the mean absolute error, the root mean squared error, and quantiles of a regression."""
    errors = answers.predictions - answers.targets
    quantiles = np.quantile(errors, [0.05, 0.5, 0.95])
    return {
        "mean": float(errors.mean()),
        "mean absolute": float(np.abs(errors).mean()),
        "root mean square": float(np.sqrt((errors**2).mean())),
        **{f"{name} quantile": float(value) for name, value in zip(("5 %", "50 %", "95 %"), quantiles, strict=True)},
    }
