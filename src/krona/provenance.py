"""Where a number comes from: code, versions, machine. Never part of what a run is."""

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "pytorch-lightning", "hydra-core", "datasets", "evaluate", "numpy", "krona")


def provenance(project: Path) -> dict[str, Any]:
    """Commit, versions, device and threads of this process."""
    import torch

    return {
        **code_version(project),
        "versions": {"python": platform.python_version(), **_versions()},
        "device": device_name(),
        "threads": torch.get_num_threads(),
        "host": platform.node(),
    }


def device_name() -> str:
    """The card as its driver names it, or the processor's kind."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({platform.machine()})"


@cache
def code_version(project: Path) -> dict[str, Any]:
    """The commit of the code and whether it was changed since; None where this is no git checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=project, capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    status = git("status", "--porcelain", "--", "src", "conf", "train.py")
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "git_code": git("log", "-1", "--format=%H", "--", "src", "conf", "train.py"),  # the last change of the code
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


class PeakMemory:
    """The most memory that this process held since the last ``reset``, in bytes: host, and device where one is."""

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


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
