"""Measure times, and repeat measurements that other processes disturbed.

Measurements are made in rounds. In each round, every contestant (a function to time) is called once. If another process
used the machine during a round, the round is repeated.
"""

import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.settings import Bench, Row, Say
from krona.messages import KronaError
from krona.training.devices import CPU_INFO, cpu_count, keep_freed_memory

STAT = Path("/proc/stat")  # a file of Linux with the busy time and the stolen time of all cores
QUIET = 0.10  # maximum number of cores that other processes may use during a measurement


class Clock(NamedTuple):
    """The values of two clocks at one moment, in seconds."""

    wall: float
    others: float | None  # the processor time of other processes and virtual machines; None if it is unknown


def read_clock(stat: Path = STAT) -> Clock:
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    try:
        fields = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return Clock(time.perf_counter(), None)
    user, nice, system, _idle, _wait, irq, softirq, stolen = (field / os.sysconf("SC_CLK_TCK") for field in fields)
    return Clock(time.perf_counter(), user + nice + system + irq + softirq + stolen - own)


def load_by_others(before: Clock, after: Clock) -> float:
    """Return the mean number of cores that other processes and virtual machines used between two moments."""
    if before.others is None or after.others is None:
        return max(0.0, os.getloadavg()[0] - 1.0)
    return max(0.0, after.others - before.others) / max(after.wall - before.wall, 1e-6)


def require_quiet(*, seconds: float = 1.0) -> None:
    """Check the load of the machine for ``seconds``.

    Raises:
        KronaError: other processes use more than `QUIET` cores.
    """
    before = read_clock()
    time.sleep(seconds)
    load = load_by_others(before, read_clock())
    if load > QUIET:
        raise load_error(f"other processes use {load:.2f} of {os.cpu_count()} cores")


def load_error(why: str) -> KronaError:
    """Return the error to raise if other processes use the machine. ``why`` describes the load."""
    return KronaError(
        f"The machine is under load: {why}. Wait until the load has ended, or measure with bench.load=mark, which "
        "marks the result as disturbed."
    )


def pin_threads(threads: int | None) -> int:
    """Set the number of threads of the benchmark, and return it. None means one thread per core."""
    cores = cpu_count()
    chosen = threads or cores
    if chosen > cores:
        raise KronaError(f"bench.threads={chosen} is too high. This process may use {cores} cores.")
    torch.set_num_threads(chosen)
    keep_freed_memory()  # as in a run
    return chosen


def machine_facts(threads: int) -> dict[str, Any]:
    """Return a description of the machine for the results file."""
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
    """The measured times of all rounds."""

    seconds: dict[str, list[float]]  # the time of each contestant in each round
    disturbed: int = 0  # the number of rounds in which other processes used the machine

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def spread(self, name: str) -> float:
        """Return half the interquartile range divided by the median. For fewer than four rounds, use half the range."""
        values = self.seconds[name]
        if len(values) < 4:
            return (max(values) - min(values)) / 2 / self.median(name)
        low, _, high = statistics.quantiles(values, n=4)
        return (high - low) / 2 / self.median(name)

    def ratio(self, name: str, to: str) -> float | None:
        """Return the median, over the rounds, of the ratio between the times of ``name`` and ``to``.

        If the machine is slow for a moment, both times of a round increase, so that their ratio hardly changes. Return
        None if ``to`` was not timed.
        """
        if to not in self.seconds:
            return None
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))

    def row(self, name: str, *, shape: str | None = None) -> Row:
        """Return the columns of a row that do not depend on the model."""
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
    """Time all contestants in rounds.

    The measurement ends after ``bench.rounds`` rounds without load by others, or after ``bench.minutes``, including the
    warm-up. If a contestant returns a number, this number is used as its time in seconds.

    Raises:
        KronaError: there were fewer than three rounds (or ``bench.rounds``, if it is smaller) without load by others.
    """
    order, shuffled, began = list(contestants), random.Random(bench.seed), time.perf_counter()
    for _ in range(bench.warm_up):
        for name in order:
            contestants[name]()
    timed = Timed({name: [] for name in order})
    warm, tried, kept = time.perf_counter(), 0, 0
    while kept < bench.rounds:
        now = time.perf_counter()
        if tried >= 3 and now - began + (now - warm) / tried > 60 * bench.minutes:
            say(f"  stopped after {kept} of {bench.rounds} rounds (limit: {bench.minutes:.1f} minutes)")
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
            marked = bench.load == "mark"
            say(f"  other processes used {load:.2f} cores in this round, so it is {'marked' if marked else 'repeated'}")
            if not marked:
                continue
        for name, seconds in row.items():
            timed.seconds[name].append(seconds)
        kept += 1
    if kept < min(bench.rounds, 3):
        raise load_error(f"other processes used cores in {timed.disturbed} of {tried} rounds")
    return timed
