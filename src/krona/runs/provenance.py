"""Record the provenance of a result: the code's commit, library versions and the machine.

This module also describes how the data of a result differs from the benchmark's data.
"""

import hashlib
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from krona.labels import BENCHMARKS, KINDS
from krona.methods.factor_shapes import shape_name
from krona.paths import INSTALLED, PROJECT
from krona.runs.result import Result

LIBRARIES = ("torch", "transformers", "pytorch-lightning", "hydra-core", "datasets", "evaluate", "numpy", "krona")
CODE = ("src", "conf", "train.py")
Part = tuple[str, int, int]  # name of a part of the data, number of rows found, number of rows in the benchmark


def provenance(*, device: str, threads: int) -> dict[str, Any]:
    """Return a dict with the commit, library versions, device, number of threads and host of this process."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    about = {"versions": versions, "device": device, "threads": threads, "host": platform.node()}
    return {**code_version(), **about}


@cache
def code_version() -> dict[str, Any]:
    """Return the version of the code as a dict.

    ``git_commit`` is the commit, ``git_dirty`` is true if the code has changes that are not in this commit, and
    ``git_code`` is the last commit that changed the code. All values are None if the code is not in a git checkout, or
    is an installed package (even inside another project's checkout).
    """

    def git(*arguments: str) -> str | None:
        if INSTALLED:
            return None
        try:
            command = ["git", *arguments]
            done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    status = git("status", "--porcelain", "--", *CODE)
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "git_code": git("log", "-1", "--format=%H", "--", *CODE),
    }


def own_code(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the file hashes of the user's own modules that a config names in ``_target_``, by module name.

    The section ``logger`` is ignored, because loggers do not affect results. No module is imported.
    """
    targets = _targets([value for key, value in config.items() if key != "logger"])
    found = {name: _hash_module(name) for name in sorted({target.rpartition(".")[0] for target in targets})}
    return {name: code[0] for name, code in found.items() if code is not None and code[1]}


def method_code(config: Mapping[str, Any]) -> str | None:
    """Return the hash of the file that defines the method's class, or None if no file was found."""
    code = _hash_module(_method_module(config))
    return None if code is None else code[0]


def method_change(result: Result) -> list[str]:
    """Return a message if the file of the method's class has changed since a run."""
    then, now = result.provenance.get("method_code"), method_code(result.config)
    return [] if None in (then, now) or then == now else [f"{_method_module(result.config)} has changed since this run"]


def _method_module(config: Mapping[str, Any]) -> str:
    return str(config["method"].get("_target_") or "").rpartition(".")[0]


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from [value["_target_"]] if isinstance(value.get("_target_"), str) else []
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _targets(item)


@cache  # a file that is edited later does not change the code of this process
def _hash_module(module: str) -> tuple[str, bool] | None:
    """Return the hash of a module's file and whether the module is the user's own, or None if it was not found."""
    if not module:
        return None
    installed = {Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("platstdlib"))}
    for folder in (*sys.path, str(Path.cwd())):
        base = Path(folder, *module.split("."))
        for file in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if file.is_file():
                real = file.resolve()
                own = not ({"site-packages", "dist-packages"} & {*real.parts} or installed & {*real.parents})
                return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest(), own
    return None


def differing_part(result: Result) -> Part | None:
    """Return the data part whose row count differs most from the benchmark's, or None if all counts are equal."""
    counts: dict[str, list[int]] = result.provenance.get("official_rows") or {}
    differing = [(name, found, official) for name, (found, official) in counts.items() if found != official]
    return max(differing, key=relative_difference, default=None)


def relative_difference(part: Part) -> float:
    """Return the relative difference between a part's row count and the benchmark's."""
    _, found, official = part
    return abs(found - official) / official


def describe_data(result: Result) -> str:
    """Describe the data of a run: its kind, or the row count that differs from the benchmark's."""
    kind = result.provenance.get("data_kind", "")
    part = differing_part(result)
    name = KINDS.get(kind, "unknown data") if part is None else describe_part(part, kind or "glue")
    return name if result.provenance.get("pretrained", True) else f"{name}, random weights"


def describe_part(part: Part, kind: str = "glue") -> str:
    """Return a heading for data that has the format of a benchmark's files but a different number of rows."""
    name, found, official = part
    return f"{BENCHMARKS[kind]}'s format, but {found:,} instead of {official:,} rows in {name}"


def used_shape(result: Result) -> str | None:
    """Return the shape of A that the run used, such as ``16x12``."""
    return _shape_of_a(result.provenance.get("branch_config") or {}) or _shape_of_a(result.config["method"])


def asked_shape(result: Result) -> str | None:
    """Return the shape of A in the config, such as ``32x24``, or None if the run used this shape."""
    asked = _shape_of_a(result.config["method"])
    return asked if asked != used_shape(result) else None


def _shape_of_a(method: dict[str, Any]) -> str | None:
    factors = method.get("kron_factors")
    return shape_name(factors[0]) if factors else None
