"""Timing in interleaved rounds on a quiet machine: each contestant once a round, a disturbed round again."""

import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.settings import Bench, Row, Say
from krona.messages import KronaError
from krona.training.machine import CPU_INFO, cpu_count, keep_freed_memory

STAT = Path("/proc/stat")  # busy and stolen time of all cores, on Linux
QUIET = 0.10  # cores that others may use before a time is not trusted


@dataclass(frozen=True)
class Clock:
    """Seconds at one moment: wall time, this process and its children, work of all cores, and stolen time."""

    wall: float
    own: float
    busy: float | None
    stolen: float


def read_clock(stat: Path = STAT) -> Clock:
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    try:
        fields = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return Clock(time.perf_counter(), own, None, 0.0)
    user, nice, system, _idle, _wait, irq, softirq, stolen = (field / os.sysconf("SC_CLK_TCK") for field in fields)
    return Clock(time.perf_counter(), own, user + nice + system + irq + softirq, stolen)


def load_by_others(before: Clock, after: Clock) -> float:
    """Return the cores that other processes, and other machines on the same host, used between two moments."""
    seconds = max(after.wall - before.wall, 1e-6)
    if before.busy is None or after.busy is None:
        return max(0.0, os.getloadavg()[0] - 1.0)
    working = (after.busy - before.busy) - (after.own - before.own)
    return max(0.0, working + after.stolen - before.stolen) / seconds


def require_quiet(*, seconds: float = 1.0) -> None:
    """Raise `KronaError` if others use more than a tenth of a core during ``seconds``."""
    before = read_clock()
    time.sleep(seconds)
    load = load_by_others(before, read_clock())
    if load > QUIET:
        raise load_error(f"others use {load:.2f} of {os.cpu_count()} cores")


def load_error(why: str) -> KronaError:
    """Return the error of a machine on which no time can be measured."""
    return KronaError(
        f"The machine is under load: {why}. Wait until they are done, or measure with bench.load=mark, which marks the "
        "result as disturbed."
    )


def pin_threads(threads: int | None) -> int:
    """Fix the number of threads of the benchmark, and return it."""
    cores = cpu_count()
    chosen = threads or cores
    if chosen > cores:
        raise KronaError(f"bench.threads={chosen}: this process may use {cores} cores.")
    torch.set_num_threads(chosen)
    keep_freed_memory()  # as runs do
    return chosen


def machine_facts(threads: int) -> dict[str, Any]:
    """Return the description of the machine for the result's file."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    processors = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": processors[0] if processors else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


@dataclass
class Timed:
    """Seconds of each round's calls, by contestant."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    disturbed: int = 0  # rounds in which others used cores: repeated, or kept with bench.load=mark
    kept: list[int] = field(default_factory=list)  # number of each kept round among a contestant's calls, from 0

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def spread(self, name: str) -> float:
        """Return half the interquartile range over the median; of fewer than four rounds, half the range."""
        values = self.seconds[name]
        if len(values) < 4:
            return (max(values) - min(values)) / 2 / self.median(name)
        low, _, high = statistics.quantiles(values, n=4)
        return (high - low) / 2 / self.median(name)

    def ratio(self, name: str, to: str) -> float | None:
        """Return the median of the rounds' ratios, in which a slow minute cancels out; None without ``to``."""
        if to not in self.seconds:
            return None
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))

    def row(self, name: str, *, shape: str | None = None) -> Row:
        """Return the columns that every benchmark has."""
        return {
            "name": name,
            "shape": shape,
            "median_s": self.median(name),
            "spread": self.spread(name),
            "ratio_to_full": self.ratio(name, "full"),
            "rounds": len(self.seconds[name]),
            "disturbed_rounds": self.disturbed,
        }


def timed_rounds(
    bench: Bench,
    contestants: Mapping[str, Callable[[], float | None]],
    *,
    clock: Callable[[], Clock] = read_clock,
    say: Say = lambda _: None,
) -> Timed:
    """Time ``bench.rounds`` quiet rounds, or as many as its ``minutes`` allow after the warm-up (at least three).

    Args:
        contestants: what to call. One that returns a number has timed itself.

    Raises:
        KronaError: there were fewer than three quiet rounds in the time.
    """
    order, shuffled, began = list(contestants), random.Random(bench.seed), time.perf_counter()
    for _ in range(bench.warm_up):
        for name in order:
            contestants[name]()
    timed = Timed({name: [] for name in order})
    warm, tried = time.perf_counter(), 0
    while len(timed.kept) < bench.rounds:
        now = time.perf_counter()
        if tried >= 3 and now - began + (now - warm) / tried > 60 * bench.minutes:
            say(f"  {len(timed.kept)} of {bench.rounds} rounds: more do not fit into {bench.minutes:.1f} minutes")
            break
        shuffled.shuffle(order)
        before, row = clock(), {}
        for name in order:
            start = time.perf_counter()
            own = contestants[name]()
            row[name] = time.perf_counter() - start if own is None else own
        load, tried = load_by_others(before, clock()), tried + 1
        if load > QUIET:
            timed.disturbed += 1
            kept = bench.load == "mark"
            say(f"  others used {load:.2f} cores in this round: it is {'marked' if kept else 'repeated'}")
            if not kept:
                continue
        for name, seconds in row.items():
            timed.seconds[name].append(seconds)
        timed.kept.append(bench.warm_up + tried - 1)
    if len(timed.kept) < min(bench.rounds, 3):
        raise load_error(f"others used cores in {timed.disturbed} of {tried} rounds")
    return timed
