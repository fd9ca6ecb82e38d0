"""Machine: devices, cores and threads, memory, and the disk space where krona writes."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from krona.doctor.line import Line
from krona.paths import OUTPUTS
from krona.training.machine import cpu_count, device_name

GB = 1e9
LITTLE_MEMORY = 2 * GB  # T5-base in fp32 has 0.9 GB of weights
LITTLE_DISK = 1 * GB
LIMIT = Path("/sys/fs/cgroup/memory.max")  # a container's
MEMORY = Path("/proc/meminfo")


def machine() -> Iterator[Line]:
    yield _device()
    yield _threads()
    yield from _memory()


def _device() -> Line:
    import torch

    if count := torch.cuda.device_count():
        sizes = [torch.cuda.get_device_properties(number).total_memory / GB for number in range(count)]
        names = [torch.cuda.get_device_name(number) for number in range(count)]
        return Line("device", ", ".join(f"{name} ({size:.0f} GB)" for name, size in zip(names, sizes, strict=True)))
    if torch.backends.mps.is_available():
        return Line("device", "Apple's GPU (mps)")
    if shutil.which("nvidia-smi") and not torch.version.cuda:
        text = f"{device_name()}; there is an NVIDIA driver, but torch {torch.__version__} is built without CUDA"
        return Line("device", text, "note", "choose CUDA at https://pytorch.org/get-started/locally")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    why = f"; CUDA_VISIBLE_DEVICES={hidden}" if hidden is not None else ""
    return Line("device", f"{device_name()}, no GPU{why}")


def _threads() -> Line:
    import torch

    cores, threads = cpu_count(), torch.get_num_threads()
    text = f"{threads} of torch, on {cores} cores"
    if threads > cores:
        return Line("threads", f"{text}: they get in each other's way", "note", f"export OMP_NUM_THREADS={cores}")
    return Line("threads", text)


def _memory() -> Iterator[Line]:
    """Available and total, where the system tells; a container's limit counts."""
    try:
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
        free, total = (1024.0 * int(lines[key].split()[0]) for key in ("MemAvailable", "MemTotal"))
        limit = LIMIT.read_text().strip() if LIMIT.is_file() else "max"
        total = min(total, float(limit)) if limit.isdecimal() else total
    except (OSError, ValueError, KeyError):
        return
    free = min(free, total)
    text = f"{free / GB:.1f} of {total / GB:.1f} GB available"
    if free < LITTLE_MEMORY:
        yield Line("memory", f"{text}: little for a T5-base", "note", "add micro_batch_size=1 or backbone=t5_small")
    else:
        yield Line("memory", text)


def disks(folders: Mapping[str, Path]) -> Iterator[Line]:
    """The space where each of these folders is, or would be made."""
    for name, folder in folders.items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        move = f"export {'KRONA_OUTPUTS' if folder == OUTPUTS else 'HF_HOME'}=FOLDER"
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            yield Line(name, f"{folder}: can't be written to ({there})", "broken", move)
            continue
        free = shutil.disk_usage(there).free
        text = f"{folder}: {free / GB:,.1f} GB free{'' if there == folder else ' (not made yet)'}"
        if free < LITTLE_DISK:
            yield Line(name, f"{text}, too little for a checkpoint of T5-base", "broken", move)
        else:
            yield Line(name, text)
