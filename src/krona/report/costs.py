"""Costs of runs: the columns beside the scores, and the Pareto front of score and cost."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from krona.report.stored_runs import StoredRun
from krona.report.table import Cell
from krona.runs.folder import RunFolder
from krona.runs.forgetting import loss_increase

Value = Callable[[StoredRun], float | None]


@dataclass(frozen=True)
class Quantity:
    """A number of a run. heading: of its column; axis: of its chart; unit: what ``value`` is divided by.

    average: the mean over runs, otherwise the largest. digits: as `krona.report.text.number` takes them.
    same_digits: all rows have the decimals of the smallest. always: a column also where no row has a value.
    """

    heading: str
    axis: str
    value: Value
    unit: float = 1.0
    average: bool = False
    digits: int = 0
    same_digits: bool = False
    always: bool = False
    cost: bool = True
    logarithmic: bool = False


def step_seconds(run: StoredRun) -> float | None:
    """Return a finished run's training seconds a step, which do not depend on early stopping."""
    curve, train = run.result.dev_curve, run.result.times.get("train")
    steps = run.result.progress.get("step") or (curve[-1].get("step") if curve else None)
    return train / steps if run.status == "done" and train and steps else None


def _peak_memory(run: StoredRun) -> float | None:
    """Return the bytes of the device, or of the host if there is no device."""
    return run.result.peak_memory.get("device") or run.result.peak_memory.get("host")


def _adapter_size(run: StoredRun) -> float | None:
    path = RunFolder(run.path.parent).adapter
    return path.stat().st_size if path.is_file() else None


def _recorded(key: str) -> Value:
    return lambda run: run.result.provenance.get(key)


# In the order of the columns; the charts of the first three costs come first.
QUANTITIES = {
    "params": Quantity(
        "Params (%)", "trainable parameters", lambda run: run.result.trainable_params,
        digits=-3, same_digits=True, always=True, logarithmic=True,
    ),
    "rank": Quantity(
        "Rank of the update", "highest rank of the update", _recorded("update_rank"),
        always=True, cost=False, logarithmic=True,
    ),
    "effective": Quantity(
        "Effective rank", "effective rank of the update",
        lambda run: (run.result.learned or {}).get("effective_rank"),
        average=True, digits=1, cost=False, logarithmic=True,
    ),
    "forgetting": Quantity(
        "Forgetting (loss)", "forgetting (loss)", lambda run: loss_increase(run.result),
        average=True, digits=3, cost=False,
    ),
    "time": Quantity(
        "Training (s)", "training time (s)", lambda run: run.result.times.get("train"), average=True, always=True,
    ),
    "step": Quantity(
        "Step (ms)", "training time of a step (ms)", step_seconds, 1e-3, average=True, digits=-3, same_digits=True,
    ),
    "memory": Quantity("Peak memory (GB)", "peak memory (GB)", _peak_memory, 1e9, digits=-3, same_digits=True),
    "adapter": Quantity("Adapter (KB)", "adapter (KB)", _adapter_size, 1e3, digits=-3, same_digits=True),
    "adds": Quantity(
        "Multiply-adds (M)", "multiply-adds that a token adds, not merged (million)", _recorded("multiply_adds"), 1e6,
        digits=-3, same_digits=True,
    ),
    "launches": Quantity("Launches added", "launches that a forward adds, not merged", _recorded("launches")),
}  # fmt: skip
COSTS = ("params", "time", "memory", "step", "adds", "launches", "adapter")


def quantity_cell(name: str, runs: Sequence[StoredRun]) -> Cell:
    """Return the mean over finished runs, or the largest of what does not depend on the seed."""
    one = QUANTITIES[name]
    value = (lambda run: run.result.trainable_percent) if name == "params" else one.value
    found = [known / one.unit for run in runs if run.status == "done" and (known := value(run)) is not None]
    if not found or (name == "time" and not any(found)):
        return Cell(missing="")
    shown = fmean(found) if one.average else float(max(found))
    return Cell(shown, digits=0 if name != "params" and shown >= 100 else one.digits)


def same_digits(values: Iterable[float | None]) -> int:
    """Return how many decimals all values need so that the smallest has three digits that count."""
    return max(0, *(2 - math.floor(math.log10(value)) for value in values if value), 0)


def mean_cost(runs: Sequence[StoredRun], cost: str) -> float | None:
    """Return the mean of a cost over runs; None if it is not known of all."""
    values = [QUANTITIES[cost].value(run) for run in runs]
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return which points of score and cost are on the Pareto front.

    A point is on it if no other has a score as high at a cost as low, and is better in one of both.
    """
    return [
        not any(score >= own_score and cost <= own and (score, cost) != (own_score, own) for score, cost in points)
        for own_score, own in points
    ]
