"""bench=memory: measure the peak memory and the time of a training step.

The measurements show how both grow with the batch size, the length, the size of the model and the number of adapters.
Each measurement is made in a separate process. The peak memory includes weights, gradients, activations and optimizer
states. The memory that the process needed before the model was built is subtracted. If a model contains several
adapters, only one of them is active. The other adapters need memory, but no time.
"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace

import torch

from benchmarks.contestants import add_adapter, build_adamw, build_family, frozen_backbone, random_batch, training_step
from benchmarks.settings import Bench, Entrant, Row, Work, settings
from benchmarks.timing import timed_rounds
from krona.backbones.load import meta_model
from krona.config.settings import Backbone
from krona.messages import KronaError
from krona.training.machine import PeakMemory

COLUMNS = {
    "name": "method", "backbone": "backbone", "batch_size": "batch", "length": "length", "adapters": "adapters",
    "peak_memory": "peak (MiB)", "ratio_to_full": "/ full", "median_s": "step with optimizer", "spread": "spread",
}  # fmt: skip


@settings
class Options:
    """The settings of this benchmark."""

    at: list[int | str]
    """The point at which every method is measured: [backbone, batch size, length, number of adapters]."""
    grid: list[list[int | str]] = field(default_factory=list)
    """More points, at which only the methods in ``growing`` are measured."""
    growing: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class MemoryPoint:
    """The conditions of a measurement."""

    backbone: str
    batch_size: int
    length: int
    adapters: int

    def __str__(self) -> str:
        return f"{self.backbone}, {self.batch_size} × {self.length}, adapters: {self.adapters}"


def read_points(options: Options) -> list[MemoryPoint]:
    """Return the point of ``options.at``, then the points of ``options.grid``.

    Raises:
        KronaError: a point in the options is not valid.
    """
    points = []
    for values in (options.at, *options.grid):
        numbers = [value for value in values[1:] if isinstance(value, int) and value >= 1]
        if len(values) != 4 or len(numbers) != 3 or not isinstance(values[0], str):
            raise KronaError(
                f"bench.options: {list(values)} is not a point. Expected [backbone, batch, length, adapters], such as "
                "[t5_base, 8, 64, 1], with numbers of at least 1."
            )
        batch_size, length, adapters = numbers
        points.append(MemoryPoint(backbone=values[0], batch_size=batch_size, length=length, adapters=adapters))
    return list(dict.fromkeys(points))


def measure(work: Work) -> list[Row]:
    options, entrants, say = work.bench.own(Options), work.entrants, work.say
    first, *rest = read_points(options)
    missing = set(options.growing) - {entrant.name for entrant in entrants} if rest else set()
    if missing:
        say(f"left out of the grid, because bench.methods does not name them: {', '.join(sorted(missing))}")
    cases = [(first, entrant) for entrant in entrants]
    cases += [(point, entrant) for point in rest for entrant in entrants if entrant.name in options.growing]
    rows: list[Row] = []
    deadline = time.perf_counter() + 60 * work.bench.minutes
    for point, entrant in cases:
        minutes = (deadline - time.perf_counter()) / 60
        if minutes < 0:
            say(f"left out for lack of time: {entrant.name} on {point}")
            continue
        say(f"{entrant.name} on {point}")
        rows.append(_measure_point(work, entrant, point, minutes))
    keys = ("backbone", "batch_size", "length", "adapters")
    full = {tuple(row[key] for key in keys): row for row in rows if row["name"] == "full"}
    for row in rows:
        other = full.get((row["backbone"], row["batch_size"], row["length"], 1))
        row["ratio_to_full"] = row["peak_memory"] / other["peak_memory"] if other else None
    return rows


def _measure_point(work: Work, entrant: Entrant, point: MemoryPoint, minutes: float) -> Row:
    """Return the row of one measurement, which is one round of `timed_rounds` with several steps."""
    measured = []

    def measure() -> float:
        measured.append(_run_process(work.bench, entrant, point, work.backbones[point.backbone]))
        return 0.0

    bench = replace(work.bench, rounds=1, warm_up=0, minutes=minutes)
    timed = timed_rounds(bench, {entrant.name: measure}, say=work.say)
    peak, timed.seconds[entrant.name] = measured[-1]
    return timed.row(entrant.name, shape=entrant.shape) | asdict(point) | {"peak_memory": peak}


def _run_process(bench: Bench, entrant: Entrant, point: MemoryPoint, backbone: Backbone) -> tuple[int, list[float]]:
    arguments = (bench, entrant, point, backbone, torch.get_num_threads())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(measure_process, *arguments).result()
        except BrokenProcessPool as error:
            why = "its process ended, probably out of memory. Choose smaller points in bench.options.grid."
            raise KronaError(f"{entrant.name} on {point}: {why}") from error
        except KronaError as error:
            raise KronaError(f"{entrant.name} on {point}: {error}") from error


def measure_process(
    bench: Bench, entrant: Entrant, point: MemoryPoint, backbone: Backbone, threads: int
) -> tuple[int, list[float]]:
    """Run training steps in this process. Return the peak memory in bytes, and the time of each step in seconds."""
    torch.set_num_threads(threads)
    meta_model(backbone)  # imports transformers' code before the memory is measured
    memory = PeakMemory()
    memory.reset()
    before = memory.read()["host"]
    model = frozen_backbone(backbone, seed=bench.seed)
    for number in range(point.adapters):
        add_adapter(model, entrant, number, seed=bench.seed, reversible=point.adapters > 1)
    batch = random_batch(model, rows=point.batch_size, length=point.length, seed=bench.seed)
    optimizer = build_adamw(model)
    step = training_step(build_family(model), model, batch, input_gradient=optimizer is None)
    seconds = []
    for _ in range(bench.warm_up + bench.rounds):
        start = time.perf_counter()
        step()
        if optimizer is not None:
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return memory.read()["host"] - before, seconds[bench.warm_up :]
