"""Memory and cores of the machine: glibc's allocator, peak memory, device name, number of cores.

glibc returns large freed blocks to the kernel and gets them again, zeroed, at the next allocation. A training step
allocates the same few hundred blocks each time, so on a CPU this takes a good part of its time (docs/results.md).
`keep_freed_memory` turns it off, unless the C library is another or ``MALLOC_…`` is set.
"""

import ctypes
import os
import platform
import sys
from pathlib import Path

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
CPU_INFO = Path("/proc/cpuinfo")
BF16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}  # the last two: ARM's
SIZES = (1 << 30, 1 << 25)  # bytes; glibc may refuse a threshold above 32 MiB


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed; returns whether there was a glibc to tell."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    kept: int = mallopt(TRIM_THRESHOLD, ctypes.c_int(2**31 - 1))
    return bool(kept) and any(mallopt(MMAP_THRESHOLD, ctypes.c_int(size)) for size in SIZES)


class PeakMemory:
    """The most memory that this process held since the last ``reset``, in bytes: of the host and of a GPU."""

    STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def reset(self) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        try:
            self.CLEAR.write_text("5")  # Linux: forget the high-water mark
        except OSError:
            return

    def read(self) -> dict[str, int]:
        import torch

        peak = {"host": self._host()}
        if torch.cuda.is_available():
            peak["device"] = int(torch.cuda.max_memory_allocated())
        return peak

    def _host(self) -> int:
        try:
            for line in self.STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        import resource

        unit = 1 if platform.system() == "Darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def bf16_notes(precision: str, accelerator: str) -> list[str]:
    """A note if a run in bf16 is on a CPU that has no instructions for it."""
    import torch

    other = torch.cuda.is_available() or torch.backends.mps.is_available()
    if not precision.startswith("bf16") or accelerator not in ("auto", "cpu") or (accelerator == "auto" and other):
        return []
    try:
        known = set(CPU_INFO.read_text(encoding="utf-8").split())
    except OSError:  # not Linux
        return []
    if known & BF16_INSTRUCTIONS:
        return []
    return [
        f"trainer.precision={precision}: this CPU has no bf16 instructions (avx512_bf16, amx_bf16), so matrix products "
        "can take 60 times as long as with 32-true"
    ]


def device_name() -> str:
    """The card as its driver names it, or the processor's kind."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({platform.machine()})"


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
