"""Query and configure the machine: peak memory, memory allocator, number of cores, bf16 support."""

import ctypes
import gc
import os
import platform
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in glibc's malloc.h
SIZES = (1 << 30, 1 << 25)  # thresholds to try, in bytes; glibc may refuse a threshold above 32 MiB
CPU_INFO = Path("/proc/cpuinfo")
BF16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}  # the last two names are used on ARM


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


class PeakMemory:
    """The peak memory of this process in bytes since the last ``reset``, on the host and on the GPU."""

    def reset(self) -> None:
        """Start a new measurement. The memory that earlier runs have freed is first returned to the kernel."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        gc.collect()
        with suppress(OSError, AttributeError):  # another C library than glibc has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # on Linux, this resets VmHWM, the peak memory

    def read(self) -> dict[str, int]:
        import torch

        peak = {"host": self._read_host()}
        if torch.cuda.is_available():
            peak["device"] = int(torch.cuda.max_memory_allocated())
        return peak

    def _read_host(self) -> int:
        with suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        import resource

        unit = 1 if platform.system() == "Darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def processor_seconds() -> float:
    """Return the processor time of this process and of its finished child processes."""
    return sum(os.times()[:4])


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
    import torch

    return torch.get_num_threads()


def cpu_count() -> int:
    """Return the number of CPU cores that this process is allowed to use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
