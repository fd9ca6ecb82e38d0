"""bench=memory: peak memory and time of a training step as batch, length, model and adapters grow.

Each figure comes from a process of its own. The peak counts everything that a run holds: weights, gradients,
activations and the optimiser's states, over what the process held before the model was built. ``adapters`` of a method
may lie in the model, one of them active: the others cost what they weigh, and no time.
"""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.contestants import adamw, add_adapter, family_for, frozen, random_batch, training_step
from benchmarks.settings import Bench, Entrant, Row, Work, settings
from benchmarks.timing import QUIET, Timed, others_share, read_clock, under_load
from krona.backbones.load import meta_model
from krona.config.settings import Backbone
from krona.messages import KronaError
from krona.training.machine import PeakMemory

COLUMNS = {
    "name": "method", "backbone": "backbone", "batch_size": "batch", "length": "length", "adapters": "adapters",
    "peak_memory": "peak (MiB)", "ratio_to_full": "/ full", "median_s": "step with optimiser", "spread": "spread",
}  # fmt: skip
PLOT = ("peak_memory", "peak memory (GiB)")
DETAIL = "{backbone}, {batch_size} × {length}, adapters: {adapters}"
KEYS = ("backbone", "batch_size", "length", "adapters")


@settings
class Options:
    """at: [backbone, batch, length, adapters], where every method is measured; grid: more such points, where those of
    ``growing`` are."""

    at: list[int | str]
    grid: list[list[int | str]] = field(default_factory=list)
    growing: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Point:
    backbone: str
    batch_size: int
    length: int
    adapters: int

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> "Point":
        whole = [isinstance(value, int) and value >= 1 for value in values[1:]]
        if len(values) != len(KEYS) or not isinstance(values[0], str) or not all(whole):
            raise KronaError(
                f"bench.options: {list(values)} is no point; expected [backbone, batch, length, adapters], such as "
                "[t5_base, 8, 64, 1], numbers of at least 1"
            )
        return cls(**dict(zip(KEYS, values, strict=True)))

    def __str__(self) -> str:
        return f"{self.backbone}, {self.batch_size} × {self.length}, adapters: {self.adapters}"


def points_of(options: Options) -> list[Point]:
    return list(dict.fromkeys(Point.from_list(values) for values in (options.at, *options.grid)))


def measure(work: Work) -> list[Row]:
    options, entrants, say = work.bench.own(Options), work.entrants, work.say
    first, *rest = points_of(options)
    missing = set(options.growing) - {entrant.name for entrant in entrants} if rest else set()
    if missing:
        say(f"left out of the grid: {', '.join(sorted(missing))}, which bench.methods does not name")
    cases = [(first, entrant) for entrant in entrants]
    cases += [(point, entrant) for point in rest for entrant in entrants if entrant.name in options.growing]
    rows: list[Row] = []
    deadline = time.perf_counter() + 60 * work.bench.minutes
    for point, entrant in cases:
        if time.perf_counter() > deadline:
            say(f"left out for time: {entrant.name} on {point}")
            continue
        say(f"{entrant.name} on {point}")
        rows.append(_row(work, entrant, point, deadline))
    full = {tuple(row[key] for key in KEYS): row for row in rows if row["name"] == "full"}
    for row in rows:
        other = full.get((row["backbone"], row["batch_size"], row["length"], 1))
        row["ratio_to_full"] = row["peak_memory"] / other["peak_memory"] if other else None
    return rows


def _row(work: Work, entrant: Entrant, point: Point, deadline: float) -> Row:
    """One figure; on a disturbed machine it is measured again, or marked."""
    disturbed = 0
    while True:
        before = read_clock()
        peak, seconds = _in_fresh_process(work.bench, entrant, point, work.backbones[point.backbone])
        share = others_share(before, read_clock())
        disturbed += share > QUIET
        if share <= QUIET or work.bench.load == "mark":
            break
        if time.perf_counter() > deadline:
            raise under_load(f"others took {share:.2f} cores while {entrant.name} was measured")
        work.say(f"  others took {share:.2f} cores: it is repeated")
    row = Timed({entrant.name: seconds}, disturbed).row(entrant.name, shape=entrant.shape)
    return row | {key: getattr(point, key) for key in KEYS} | {"peak_memory": peak}


def _in_fresh_process(bench: Bench, entrant: Entrant, point: Point, backbone: Backbone) -> tuple[int, list[float]]:
    arguments = (bench, entrant, point, backbone, torch.get_num_threads())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(_peak_and_seconds, *arguments).result()
        except BrokenProcessPool as error:
            what = "its process ended, likely out of memory: smaller points in bench.options.grid"
            raise KronaError(f"{entrant.name} on {point}: {what}") from error
        except KronaError as error:
            raise KronaError(f"{entrant.name} on {point}: {error}") from error


def _peak_and_seconds(
    bench: Bench, entrant: Entrant, point: Point, backbone: Backbone, threads: int
) -> tuple[int, list[float]]:
    torch.set_num_threads(threads)
    meta_model(backbone)  # imports the library's code of it
    memory = PeakMemory()
    memory.reset()
    before = memory.read()["host"]
    model = frozen(backbone, seed=bench.seed)
    for number in range(point.adapters):
        add_adapter(model, entrant, number, seed=bench.seed, reversible=point.adapters > 1)
    batch = random_batch(model, rows=point.batch_size, length=point.length, seed=bench.seed)
    optimizer = adamw(model)
    step = training_step(family_for(model), model, batch, from_embeddings=optimizer is None)
    seconds = []
    for _ in range(bench.warm_up + bench.rounds):
        start = time.perf_counter()
        step()
        if optimizer is not None:
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return memory.read()["host"] - before, seconds[bench.warm_up :]
