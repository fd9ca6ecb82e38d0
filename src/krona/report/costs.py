"""Compute the costs and other quantities of runs for tables and charts, and the Pareto front of score and cost."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from krona.report.stored_runs import StoredRun
from krona.report.table import Cell
from krona.runs.file_names import ADAPTER

Value = Callable[[StoredRun], float | None]


@dataclass(frozen=True)
class Quantity:
    """A cost or another number of a run, which can be a column of a table and the axis of a chart."""

    heading: str  # of the column
    value: Value  # returns the number of a run, or None if it is unknown
    unit: float = 1.0  # the shown unit; the value is divided by it
    axis: str = ""  # the label of the axis in charts; without it, the quantity is in no chart
    average: bool = False  # a cell shows the mean over runs, otherwise the largest value
    digits: int = 0  # as in `krona.report.wording.number`
    always: bool = False  # the column is shown even if no row has a value
    logarithmic: bool = False  # the axis in charts


def step_seconds(run: StoredRun) -> float | None:
    """Return the seconds per training step of a finished run. They do not depend on early stopping."""
    curve, train = run.result.dev_curve, run.result.times.get("train")
    steps = run.result.progress.get("step") or (curve[-1].get("step") if curve else None)
    return train / steps if run.status == "done" and train and steps else None


def _peak_memory(run: StoredRun) -> float | None:
    return run.result.peak_memory.get("device") or run.result.peak_memory.get("host")


def _adapter_size(run: StoredRun) -> float | None:
    path = run.path.with_name(ADAPTER)
    return path.stat().st_size if path.is_file() else None


def _recorded(key: str) -> Value:
    return lambda run: run.result.provenance.get(key)


# The quantities by name, in the order of the columns of a table.
QUANTITIES = {
    "params": Quantity(
        "Params (%)", lambda run: run.result.trainable_params, axis="trainable parameters",
        digits=-3, always=True, logarithmic=True,
    ),
    "rank": Quantity(
        "Rank of the update", _recorded("update_rank"), axis="highest rank of the update",
        always=True, logarithmic=True,
    ),
    "effective": Quantity(
        "Effective rank", lambda run: (run.result.learned or {}).get("effective_rank"),
        axis="effective rank of the update", average=True, digits=1, logarithmic=True,
    ),
    "time": Quantity(
        "Training (s)", lambda run: run.result.times.get("train"), axis="training time (s)", average=True, always=True,
    ),
    "step": Quantity("Step (ms)", step_seconds, 1e-3, average=True, digits=-3),
    "memory": Quantity("Peak memory (GB)", _peak_memory, 1e9, axis="peak memory (GB)", digits=-3),
    "adapter": Quantity("Adapter (KB)", _adapter_size, 1e3, digits=-3),
    "adds": Quantity("Multiply-adds (M)", _recorded("multiply_adds"), 1e6, digits=-3),
    "launches": Quantity("Launches added", _recorded("launches")),
}  # fmt: skip
COSTS = ("params", "time", "memory")  # the costs with charts, in their order


def quantity_cell(name: str, runs: Sequence[StoredRun]) -> Cell:
    """Return the cell of a quantity: its mean over finished runs or, if it does not depend on the seed, its maximum."""
    one = QUANTITIES[name]
    value = (lambda run: run.result.trainable_percent) if name == "params" else one.value
    found = [known / one.unit for run in runs if run.status == "done" and (known := value(run)) is not None]
    if not found or (name == "time" and not any(found)):
        return Cell(missing="")
    shown = fmean(found) if one.average else float(max(found))
    return Cell(shown, digits=0 if name != "params" and shown >= 100 else one.digits)


def same_digits(values: Iterable[float | None]) -> int:
    """Return the number of decimals with which the smallest value has three significant digits. It is at least 0."""
    return max(0, *(2 - math.floor(math.log10(value)) for value in values if value), 0)


def mean_cost(runs: Sequence[StoredRun], cost: str) -> float | None:
    """Return the mean of a cost over runs, or None if the cost is unknown for one of them."""
    values = [QUANTITIES[cost].value(run) for run in runs]
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return for each point (score, cost) whether it is on the Pareto front.

    A point is on the front if no different point has at least its score at no higher cost.
    """
    return [
        not any(score >= own_score and cost <= own and (score, cost) != (own_score, own) for score, cost in points)
        for own_score, own in points
    ]
