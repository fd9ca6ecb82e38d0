"""Compute the metrics of a task, without a download. A local `evaluate` metric uses scikit-learn and SciPy."""

from collections.abc import Sequence
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent / "label_scores"  # evaluate requires the same name for folder and script


def compute(
    metrics: Sequence[str], targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str] | None
) -> dict[str, float]:
    """Return a dict from the name of each metric to its score (0-100). The arguments are those of `scores.score`."""
    import evaluate  # the import takes a second, and reports do not need it

    # Keep the metric in memory. On disk, the lock file of a failed computation would block all later computations.
    metric = evaluate.load(str(SCRIPT), keep_in_memory=True)
    scores = metric.compute(
        predictions=list(predictions), references=list(targets), metrics=list(metrics), labels=labels
    )
    return {name: float(scores[name]) for name in metrics}
