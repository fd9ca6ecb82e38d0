"""Find the devices of a run, train on several of them, and configure and measure the machine.

A run on several devices has one process for each device, started by torchrun or srun. Lightning's `DDPStrategy`
averages the gradients of the processes. The learner multiplies its loss by the number of processes and divides it by
the number of labels in the whole batch, so the average is the exact gradient of the batch.
"""

import ctypes
import gc
import os
import platform
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from krona.config.settings import Trainer
from krona.messages import KronaError
from krona.runs.processes import num_processes

Value = TypeVar("Value")
PATIENCE = timedelta(minutes=10)  # a process that does not respond for this time counts as lost
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in glibc's malloc.h
SIZES = (1 << 30, 1 << 25)  # thresholds to try, in bytes; glibc may refuse a threshold above 32 MiB
CPU_INFO = Path("/proc/cpuinfo")
BF16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}  # the last two names are used on ARM


@dataclass(frozen=True)
class Ranks:
    """The number of this process (its rank) among the processes of its run."""

    rank: int = 0
    size: int = 1
    local_size: int = 1  # number of processes on this machine

    @property
    def first(self) -> bool:
        """True on rank 0, which is the only process that claims the run, writes files, prints and logs."""
        return self.rank == 0

    def add_up(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes. All processes must call the method in the same order."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def broadcast(self, tensor: Tensor) -> None:
        """Replace a tensor by rank 0's tensor. All processes must call the method in the same order."""
        if self.size > 1:
            dist.broadcast(tensor, src=0)

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes in rank order. All processes must call the method in the same order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


def devices_wanted(trainer: Trainer) -> int:
    """Return the number of devices that a run uses on each machine."""
    if trainer.devices != "auto":
        return trainer.devices
    kind, count = count_devices(trainer)
    return 1 if kind == "cpu" else count


def count_devices(trainer: Trainer) -> tuple[str, int]:
    """Return the kind of device that a run uses (cuda, mps or cpu), and the number of such devices or CPU cores.

    Raises:
        KronaError: this machine does not have the device that the settings name.
    """
    mps = int(torch.backends.mps.is_available())
    counts = {"cuda": torch.cuda.device_count(), "mps": mps, "cpu": cpu_count()}
    kind: str = trainer.accelerator
    if kind in ("auto", "gpu"):
        kind = next((name for name in ("cuda", "mps") if counts[name]), "cpu" if kind == "auto" else "gpu")
    if not (count := counts.get(kind, 0)):
        available = ", ".join(name for name, number in counts.items() if number)
        raise KronaError(
            f"trainer.accelerator={trainer.accelerator} is not available on this machine. It has {available}."
        )
    return kind, count


def environment() -> Any:
    """Return Lightning's environment plugin for the program that started this process (torchrun, srun or another).

    Without this plugin, Lightning itself would detect SLURM and requeue the job at SIGUSR1.
    """
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if num_processes() == 1:
        return LightningEnvironment()
    return TorchElasticEnvironment() if "TORCHELASTIC_RUN_ID" in os.environ else SLURMEnvironment(auto_requeue=False)


@contextmanager
def join_processes(*, accelerator: str) -> Iterator[Ranks]:
    """Connect to the other processes of this run, if there are any. GPUs communicate through NCCL, CPUs through gloo.

    ``accelerator`` is the kind of device, such as ``"cuda"``.
    """
    if num_processes() == 1:
        yield Ranks()
        return
    plugin = environment()
    os.environ |= {"MASTER_ADDR": plugin.main_address, "MASTER_PORT": str(plugin.main_port)}
    rank, size = plugin.global_rank(), plugin.world_size()
    if accelerator == "cuda":
        torch.cuda.set_device(plugin.local_rank())
    backend = "cpu:gloo,cuda:nccl" if accelerator == "cuda" else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield Ranks(rank, size, Ranks(rank, size).gather(socket.gethostname()).count(socket.gethostname()))
    finally:
        dist.destroy_process_group()


def configure_process(trainer: Trainer, ranks: Ranks) -> list[str]:
    """Set the number of threads and the memory allocator of this process. Return notes."""
    keep_freed_memory()
    threads = default_threads() if ranks.size == 1 else max(1, cpu_count() // ranks.local_size)
    torch.set_num_threads(threads if trainer.threads is None else trainer.threads)
    return bf16_notes(trainer.precision, count_devices(trainer)[0])


def keep_freed_memory() -> bool:
    """Configure glibc to keep freed memory in the process. Return True if glibc accepted the setting.

    By default, glibc returns large freed blocks to the kernel. The kernel fills each block with zeros before the
    process gets it again. Every training step allocates the same few hundred blocks, so on a CPU this filling takes a
    considerable part of a step. The function changes nothing if the C library is not glibc, or if the user has set an
    environment variable ``MALLOC_…``.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    kept: int = mallopt(TRIM_THRESHOLD, ctypes.c_int(2**31 - 1))
    return bool(kept) and any(mallopt(MMAP_THRESHOLD, ctypes.c_int(size)) for size in SIZES)


def reset_peak_memory() -> None:
    """Start a new measurement of the peak memory. The memory of earlier runs is first returned to the kernel."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library than glibc has no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # on Linux, this resets VmHWM, the peak memory


def read_peak_memory() -> dict[str, int]:
    """Return the peak memory in bytes since the last reset, on the host and on the GPU."""
    import resource  # not available on Windows

    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        host = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), host)
    if torch.cuda.is_available():
        return {"host": host, "device": int(torch.cuda.max_memory_allocated())}
    return {"host": host}


def clock() -> tuple[float, float]:
    """Return the time in seconds, and the processor time of this process and of its finished child processes."""
    return time.perf_counter(), sum(os.times()[:4])


def read_load() -> list[float]:
    """Return the load average over one minute per CPU core of the machine. If it is not known, return []."""
    try:
        return [os.getloadavg()[0] / (os.cpu_count() or 1)]
    except OSError:
        return []


def bf16_notes(precision: str, kind: str) -> list[str]:
    """Return a list with a note if a run uses bf16 on a CPU without bf16 instructions, otherwise an empty list.

    ``kind`` is the kind of device, such as ``"cpu"``.
    """
    if not precision.startswith("bf16") or kind != "cpu":
        return []
    try:
        known = set(CPU_INFO.read_text(encoding="utf-8").split())
    except OSError:  # not Linux
        return []
    if known & BF16_INSTRUCTIONS:
        return []
    return [
        f"This CPU has no bf16 instructions (avx512_bf16, amx_bf16). With trainer.precision={precision}, matrix "
        "products can take 60 times as long as with 32-true."
    ]


@cache
def default_threads() -> int:
    """Return the number of threads that PyTorch used before the first run of this process."""
    return torch.get_num_threads()


def cpu_count() -> int:
    """Return the number of CPU cores that this process is allowed to use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
