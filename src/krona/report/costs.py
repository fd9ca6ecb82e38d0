"""Costs of runs: the columns beside the scores, and the Pareto front of score and cost."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from krona.metrics.metric import Floats
from krona.report.selection import StoredRun
from krona.report.table import Cell
from krona.runs.folder import RunFolder
from krona.runs.forgetting import loss_increase

DRAWS = 1_000
CHUNK = 4_000_000  # comparisons held at once
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


def seconds_a_step(run: StoredRun) -> float | None:
    """Return a finished run's training seconds a step, in which a run that stopped early compares with the others."""
    curve, train = run.result.dev_curve, run.result.times.get("train")
    steps = run.result.progress.get("step") or (curve[-1].get("step") if curve else None)
    return train / steps if run.status == "done" and train and steps else None


def _peak_memory(run: StoredRun) -> float | None:
    """Bytes of the device where there is one, otherwise of the host."""
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
        "Step (ms)", "training time of a step (ms)", seconds_a_step, 1e-3, average=True, digits=-3, same_digits=True,
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
    shown = float(np.mean(found)) if one.average else float(max(found))
    return Cell(shown, digits=0 if name != "params" and shown >= 100 else one.digits)


def same_digits(values: Iterable[float | None]) -> int:
    """Return how many decimals all values need so that the smallest has three digits that count."""
    return max(0, *(2 - math.floor(math.log10(value)) for value in values if value), 0)


@dataclass(frozen=True)
class Standing:
    """A row's mean cost, whether it is on the front, and the probability of that (None: of single seeds alone)."""

    cost: float
    on_front: bool
    probability: float | None

    @property
    def text(self) -> str:
        """``70 % of draws``; of single seeds ``yes`` or ``no``."""
        if self.probability is None:
            return "yes" if self.on_front else "no"
        return f"{100 * self.probability:.0f} % of draws"


def standings(rows: Sequence[Sequence[StoredRun]], split: str, cost: str, *, seed: int = 0) -> list[Standing | None]:
    """Return for each row's runs of one column its standing by ``cost``; None where score or cost is not known.

    A draw takes each row's seeds anew, with repetition, scores and costs of a seed together; several tasks of a row
    are averaged within a seed. The probability is the share of draws in which the row is on the front.
    """
    known = {i: table for i, runs in enumerate(rows) if len(table := _by_seed(runs, split, QUANTITIES[cost].value))}
    found: list[Standing | None] = [None] * len(rows)
    if not known:
        return found
    means = np.stack([table.mean(0) for table in known.values()])
    now = _on_front(means[None])[0]
    rng = np.random.default_rng(seed)
    several = any(len(table) > 1 for table in known.values())
    share = np.zeros(len(known))
    step = max(1, CHUNK // len(known) ** 2)
    for start in range(0, DRAWS if several else 0, step):
        count = min(step, DRAWS - start)
        drawn = [table[rng.integers(len(table), size=(count, len(table)))].mean(1) for table in known.values()]
        share += _on_front(np.stack(drawn, axis=1)).sum(0)
    for place, i in enumerate(known):
        found[i] = Standing(float(means[place, 1]), bool(now[place]), float(share[place]) / DRAWS if several else None)
    return found


def _by_seed(runs: Sequence[StoredRun], split: str, cost: Value) -> Floats:
    """(seeds, 2): score and cost of each seed that all of the row's tasks have."""
    tasks: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    for run in runs:
        score, spent = run.score(split), cost(run)
        if score is not None and spent is not None:
            tasks[run.result.task][run.result.seed] = (score, spent)
    if len(tasks) < len({run.result.task for run in runs}) or not tasks:
        return np.empty((0, 2))
    seeds = sorted(set.intersection(*(set(one) for one in tasks.values())))
    return np.array([np.mean([one[seed] for one in tasks.values()], axis=0) for seed in seeds]).reshape(-1, 2)


def _on_front(points: Floats) -> NDArray[np.bool_]:
    """(draws, rows) of bool from (draws, rows, 2): no other has a score as high at a cost as low, and one better."""
    score, cost = points[..., 0], points[..., 1]
    no_worse = (score[:, None, :] >= score[:, :, None]) & (cost[:, None, :] <= cost[:, :, None])
    better = (score[:, None, :] > score[:, :, None]) | (cost[:, None, :] < cost[:, :, None])
    return np.asarray(~(no_worse & better).any(-1), dtype=np.bool_)
