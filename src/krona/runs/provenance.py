"""Provenance of a result: code, versions and machine, and how its data differs from GLUE's."""

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
CODE = ("src", "conf", "train.py")
Part = tuple[str, int, int]  # name in the source, rows found, GLUE's rows


def provenance(project: Path, *, device: str, threads: int) -> dict[str, Any]:
    """Return the commit, versions, device and threads of this process."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    about = {"versions": versions, "device": device, "threads": threads, "host": platform.node()}
    return {**code_version(project), **about}


@cache
def code_version(project: Path) -> dict[str, Any]:
    """Return the commit of the code and whether it was changed since; None outside a git checkout.

    An installed package counts as outside, even if its environment is inside another project's checkout.
    """

    def git(*arguments: str) -> str | None:
        if INSTALLED:
            return None
        try:
            command = ["git", *arguments]
            done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    status = git("status", "--porcelain", "--", *CODE)
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "git_code": git("log", "-1", "--format=%H", "--", *CODE),  # the last change of the code
    }


def differing_part(result: Result) -> Part | None:
    """Return the part whose rows differ most from GLUE's; None if all are GLUE's, or if they were not counted."""
    counts: dict[str, list[int]] = result.provenance.get("official_rows") or {}
    differing = [(name, found, official) for name, (found, official) in counts.items() if found != official]
    return max(differing, key=relative_difference, default=None)


def relative_difference(part: Part) -> float:
    """Return the difference of a part's rows from GLUE's, as a share of GLUE's."""
    _, found, official = part
    return abs(found - official) / official


def describe_part(part: Part) -> str:
    """Return a heading for data that has GLUE's form but other rows."""
    name, found, official = part
    return f"GLUE's form, {found:,} rows for {official:,} in {name}"
