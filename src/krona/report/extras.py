"""Columns beside the scores: what a row's runs trained, took and left behind."""

from collections.abc import Callable, Sequence

import numpy as np

from krona.outputs.forgetting import forgotten
from krona.report import front
from krona.report.selection import StoredRun
from krona.report.table import Cell

Value = Callable[[StoredRun], float | None]
LABELS = {
    "params": "Params (%)", "rank": "Rank of the update", "effective": "Effective rank",
    "forgetting": "Forgetting (loss)", "time": "Training (s)", "step": "Step (ms)",
    "memory": "Peak memory (GB)", "adapter": "Adapter (KB)", "adds": "Multiply-adds (M)", "launches": "Launches added",
}  # fmt: skip
# left out of a table where no row has one
WHERE_KNOWN = ("effective", "forgetting", "step", "memory", "adapter", "adds", "launches")
ONE_PRECISION = ("params", "step", "memory", "adapter", "adds")  # of these the smallest says how many decimals all have


def extra_cell(name: str, runs: Sequence[StoredRun]) -> Cell:
    """The mean over finished runs, or the largest of what does not depend on the seed."""
    done = [run for run in runs if run.status == "done"]
    value, together, digits = _EXTRAS[name]
    found = [one for run in done if (one := value(run)) is not None]
    if not found:
        return Cell(missing="")
    shown = float(together(found))
    return Cell(shown, digits=0 if name != "params" and shown >= 100 else digits)


def _effective_rank(run: StoredRun) -> float | None:
    return (run.result.learned or {}).get("effective_rank")


def _mean(found: list[float]) -> float:
    return float(np.mean(found))


def _in(unit: float, cost: Value) -> Value:
    def value(run: StoredRun) -> float | None:
        spent = cost(run)
        return None if spent is None else spent / unit

    return value


_EXTRAS: dict[str, tuple[Value, Callable[[list[float]], float], int]] = {
    "params": (lambda run: run.result.trainable_percent, max, -3),
    "rank": (lambda run: run.result.provenance.get("update_rank"), max, 0),
    "effective": (_effective_rank, _mean, 1),
    "forgetting": (lambda run: forgotten(run.result), _mean, 3),
    "time": (lambda run: run.result.times.get("train") or None, _mean, 0),
    "step": (_in(1e-3, front.step), _mean, -3),
    "memory": (_in(1e9, front.memory), max, -3),
    "adapter": (_in(1e3, front.adapter), max, -3),
    "adds": (_in(1e6, front.multiply_adds), max, -3),
    "launches": (front.launches, max, 0),
}
