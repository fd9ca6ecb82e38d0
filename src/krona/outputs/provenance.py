"""Provenance of a result: code, versions, machine. No part of a run's id."""

import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from krona.paths import INSTALLED

LIBRARIES = ("torch", "transformers", "pytorch-lightning", "hydra-core", "datasets", "evaluate", "numpy", "krona")


def provenance(project: Path, *, device: str, threads: int) -> dict[str, Any]:
    """Commit, versions, device and threads of this process."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        **code_version(project),
        "versions": versions,
        "device": device,
        "threads": threads,
        "host": platform.node(),
    }


@cache
def code_version(project: Path) -> dict[str, Any]:
    """The commit of the code and whether it was changed since; None where this is no git checkout.

    An installed package is none, also if its environment lies within another project's checkout.
    """

    def git(*arguments: str) -> str | None:
        if INSTALLED:
            return None
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
