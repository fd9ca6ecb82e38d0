"""Choose the threshold above whose probability a label of a multi-label task is predicted."""

from collections.abc import Callable, Sequence

from krona.metrics.scores.metric import format_set

DEFAULT = 0.5
CANDIDATES = [round(0.05 * step, 2) for step in range(1, 20)]


def labels_above(threshold: float, probabilities: Sequence[Sequence[float]], labels: Sequence[str]) -> list[str]:
    """Return the labels of each row whose probability is above the threshold, such as ``0 2``."""
    return [
        format_set(label for label, value in zip(labels, row, strict=True) if value > threshold)
        for row in probabilities
    ]


def choose_threshold(
    score: Callable[[list[str]], float], probabilities: Sequence[Sequence[float]], labels: Sequence[str]
) -> float:
    """Return the candidate with the best score of the predicted labels. Of equal scores, return the nearest to 0.5."""
    scores = {threshold: score(labels_above(threshold, probabilities, labels)) for threshold in CANDIDATES}
    return max(CANDIDATES, key=lambda threshold: (scores[threshold], -abs(threshold - DEFAULT)))
