"""Memory that a step frees stays with the process: the next step need not ask the kernel for it, page by page.

glibc gives large blocks back to the kernel as they are freed and gets them anew, zeroed, at the next allocation. A
training step allocates the same few hundred blocks each time, so on a CPU that is a good part of its time
(docs/results.md). Other C libraries, and programs that set ``MALLOC_…`` themselves, are left alone.
"""

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
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
