"""The machine of a bench: its processor and software, and the load by other processes."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

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
        f"the machine is under load: {what}. Wait until they are done; bench.load=mark measures all the same and marks "
        "the result as disturbed"
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
