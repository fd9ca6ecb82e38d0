"""Provenance of a result: code, versions and machine, and how its data compares with GLUE's."""

import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from krona.paths import INSTALLED
from krona.runs.result import Result

LIBRARIES = ("torch", "transformers", "pytorch-lightning", "hydra-core", "datasets", "evaluate", "numpy", "krona")
Part = tuple[str, int, int]  # its name in the source, the rows found, GLUE's rows


def provenance(project: Path, *, device: str, threads: int) -> dict[str, Any]:
    """Return the commit, versions, device and threads of this process."""
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
    """Return the commit of the code and whether it was changed since; None outside a git checkout.

    An installed package is outside one, also if its environment is inside another project's checkout.
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


def odd_part(result: Result) -> Part | None:
    """Return the part whose rows differ most from GLUE's; None if all are GLUE's, or if they were not counted."""
    counts: dict[str, list[int]] = result.provenance.get("official_rows") or {}
    odd = [(name, found, official) for name, (found, official) in counts.items() if found != official]
    return max(odd, key=distance, default=None)


def distance(part: Part) -> float:
    """Return by how much the rows found differ from GLUE's, as a share of these."""
    _, found, official = part
    return abs(found - official) / official


def glue_form(part: Part) -> str:
    """Return the name of data that has GLUE's form but other rows."""
    name, found, official = part
    return f"GLUE's form, {found:,} rows for {official:,} in {name}"
