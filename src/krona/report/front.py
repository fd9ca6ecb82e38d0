"""Cost beside score: which rows no other beats on both, and how sure that is, by bootstrap over seeds."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from krona.metrics.metric import Floats
from krona.report.costs import seconds_a_step
from krona.report.selection import StoredRun

DRAWS = 1_000
CHUNK = 4_000_000  # comparisons held at once


def trainable(run: StoredRun) -> float | None:
    """None for what trains nothing in the backbone: it has no place on a logarithmic axis."""
    return run.result.trainable_params or None


def seconds(run: StoredRun) -> float | None:
    return run.result.times.get("train")


def step(run: StoredRun) -> float | None:
    """Seconds."""
    found = seconds_a_step([run])
    return found[0][1] if found else None


def multiply_adds(run: StoredRun) -> float | None:
    added: int | None = run.result.provenance.get("multiply_adds")
    return added


def launches(run: StoredRun) -> float | None:
    added: int | None = run.result.provenance.get("launches")
    return added


def adapter(run: StoredRun) -> float | None:
    """Bytes of the adapter's file."""
    path = run.path.with_name("adapter.safetensors")
    return path.stat().st_size if path.is_file() else None


def memory(run: StoredRun) -> float | None:
    """Bytes at the peak: of the device where there is one, else of the host."""
    return run.result.peak_memory.get("device") or run.result.peak_memory.get("host")


COSTS: dict[str, Callable[[StoredRun], float | None]] = {
    "params": trainable, "time": seconds, "memory": memory,
    "step": step, "adds": multiply_adds, "launches": launches, "adapter": adapter,
}  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """A row's mean cost, whether it is on the front, and the probability of that (None: of single seeds alone)."""

    cost: float
    on_front: bool
    probability: float | None


def standings(rows: Sequence[Sequence[StoredRun]], split: str, cost: str, *, seed: int = 0) -> list[Standing | None]:
    """For each row's runs of one column its standing by ``cost``; None where a score or a cost is not known.

    A draw takes each row's seeds anew, with repetition, scores and costs of a seed together; several tasks of a row
    are averaged within a seed. The probability is the share of draws in which the row is on the front.
    """
    known = {i: table for i, runs in enumerate(rows) if len(table := _by_seed(runs, split, COSTS[cost]))}
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


def _by_seed(runs: Sequence[StoredRun], split: str, cost: Callable[[StoredRun], float | None]) -> Floats:
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
