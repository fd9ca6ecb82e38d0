"""Compute the metrics of a task with a metric class of `evaluate`, which needs no download.

Importing `evaluate` takes a second, so reports use `krona.metrics.scores` directly.
"""

from collections.abc import Sequence

import datasets
import evaluate

from krona.metrics.scores import METRICS, score


class LabelScores(evaluate.Metric):  # type: ignore[misc]
    """Scores of label strings (0-100). Their type is string, because a model can generate text that is not a label."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=f"{', '.join(METRICS)} of label strings, from 0 to 100.",
            citation="",
            inputs_description="predictions, references: strings. metrics: names. labels: all target strings, or None.",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(
        self, predictions: list[str], references: list[str], metrics: list[str], labels: list[str] | None
    ) -> dict[str, float]:
        return score(metrics, references, predictions, labels)


def compute(
    metrics: Sequence[str], targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str] | None
) -> dict[str, float]:
    """Return a dict from the name of each metric to its score (0-100). The arguments are those of `scores.score`."""
    # Keep the metric in memory. On disk, the lock file of a failed computation would block all later computations.
    metric = LabelScores(keep_in_memory=True)
    scores = metric.compute(
        predictions=list(predictions), references=list(targets), metrics=list(metrics), labels=labels
    )
    return {name: float(scores[name]) for name in metrics}
