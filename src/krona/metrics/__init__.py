"""Compute the metrics of a task, without a download. A local `evaluate` metric uses scikit-learn and SciPy."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["load"]

SCRIPT = Path(__file__).resolve().parent / "label_scores"  # evaluate requires the same name for folder and script


class ScoredTask(Protocol):
    """The attributes of a task that its metrics need."""

    @property
    def name(self) -> str: ...
    @property
    def metrics(self) -> tuple[str, ...]: ...
    def target_strings(self) -> list[str] | None: ...


def load(task: ScoredTask) -> Callable[[Sequence[str], Sequence[str]], dict[str, float]]:
    """Return a function that computes the metrics of a task.

    The function takes the targets and the predictions, and returns a dict from the name of each metric to its score
    (0-100). The function cannot be pickled. Do not store it in modules that are saved or sent to other processes.
    """
    import evaluate  # the import takes a second, and reports do not need it

    # Keep the metric in memory. On disk, the lock file of a failed computation would block all later computations.
    metric = evaluate.load(str(SCRIPT), task.name, keep_in_memory=True)
    names, labels = list(task.metrics), task.target_strings()

    def compute(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
        scores = metric.compute(predictions=list(predictions), references=list(targets), metrics=names, labels=labels)
        return {name: float(scores[name]) for name in names}

    return compute
