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
from krona.training.machine import cpu_count, keep_freed_memory

STAT = Path("/proc/stat")  # busy and stolen time of all cores; absent elsewhere than on Linux
QUIET = 0.10  # cores: what others may take before a figure is not trusted


@dataclass(frozen=True)
class Clock:
    """Seconds at one moment: on the wall, of this process with its children, of all cores' work, of stolen time."""

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


def others_share(before: Clock, after: Clock) -> float:
    """Cores that others took between two moments: other processes here, and other machines on the same host."""
    seconds = max(after.wall - before.wall, 1e-6)
    if before.busy is None or after.busy is None:
        return max(0.0, os.getloadavg()[0] - 1.0)
    working = (after.busy - before.busy) - (after.own - before.own)
    return max(0.0, working + after.stolen - before.stolen) / seconds


def require_quiet(*, seconds: float = 1.0) -> None:
    """Raises `KronaError` where others take more than a tenth of a core during ``seconds``."""
    before = read_clock()
    time.sleep(seconds)
    share = others_share(before, read_clock())
    if share > QUIET:
        cores = os.cpu_count()
        raise under_load(f"others take {share:.2f} of {cores} cores, and a time measured now would be a wrong number")


def under_load(what: str) -> KronaError:
    """The error of a machine on which no time can be measured."""
    return KronaError(
        f"The machine is under load: {what}. Wait until they are done. bench.load=mark measures anyway and marks the "
        "result as disturbed."
    )


def pin_threads(threads: int | None) -> int:
    """Fix the number of threads for the whole bench; returns it."""
    cores = cpu_count()
    chosen = threads or cores
    if chosen > cores:
        raise KronaError(
            f"bench.threads={chosen}: this process may use {cores} cores; more threads wait for each other"
        )
    torch.set_num_threads(chosen)
    keep_freed_memory()  # as runs do
    return chosen


def machine_facts(threads: int) -> dict[str, Any]:
    """The machine, for the result's file."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@dataclass
class Timed:
    """Seconds of each round's calls, by contestant."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    disturbed: int = 0  # rounds in which others took cores: repeated, or kept with bench.load=mark
    kept: list[int] = field(default_factory=list)  # each round's number among a contestant's calls, from 0

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def spread(self, name: str) -> float:
        """Half the distance between the quartiles, over the median."""
        values = self.seconds[name]
        if len(values) < 4:
            return (max(values) - min(values)) / 2 / self.median(name)
        low, _, high = statistics.quantiles(values, n=4)
        return (high - low) / 2 / self.median(name)

    def ratio(self, name: str, to: str) -> float | None:
        """Median over rounds of one's time over another's in the same round, so that a slow minute cancels out.

        None where the other is not a contestant.
        """
        if to not in self.seconds:
            return None
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))

    def row(self, name: str, *, shape: str | None = None) -> Row:
        """The columns that every bench has, of one contestant."""
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

    A contestant that returns a number has timed itself; else its call is timed.

    Raises:
        KronaError: fewer than three quiet rounds in the time: others ran on the machine.
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
        share, tried = others_share(before, clock()), tried + 1
        if share > QUIET:
            timed.disturbed += 1
            kept = bench.load == "mark"
            say(f"  others took {share:.2f} cores in this round: it is {'marked' if kept else 'repeated'}")
            if not kept:
                continue
        for name, seconds in row.items():
            timed.seconds[name].append(seconds)
        timed.kept.append(bench.warm_up + tried - 1)
    if len(timed.kept) < min(bench.rounds, 3):
        raise under_load(
            f"others took cores in {timed.disturbed} of {tried} rounds, and {len(timed.kept)} quiet ones make no number"
        )
    return timed
