"""GLUE's metrics without the Hub: a local `evaluate` metric on scikit-learn and SciPy."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["load"]

SCRIPT = Path(__file__).resolve().parent / "label_scores"  # evaluate requires the same name for folder and script


class ScoredTask(Protocol):
    """The attributes of a task that a metric uses."""

    @property
    def name(self) -> str: ...
    @property
    def metrics(self) -> tuple[str, ...]: ...
    def target_strings(self) -> list[str] | None: ...


def load(task: ScoredTask) -> Callable[[Sequence[str], Sequence[str]], dict[str, float]]:
    """Return the task's metric: `metric(targets, predictions) -> {name: 0-100}`.

    The function does not pickle: keep it out of modules that are saved or sent to other processes.
    """
    import evaluate  # takes a second, and the report does not need it

    # In memory, because a failed compute leaves a lock on disk, for which every later one waits.
    metric = evaluate.load(str(SCRIPT), task.name, keep_in_memory=True)
    names, labels = list(task.metrics), task.target_strings()

    def compute(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
        scores = metric.compute(predictions=list(predictions), references=list(targets), metrics=names, labels=labels)
        return {name: float(scores[name]) for name in names}

    return compute
