"""Record the provenance of a result: the code's commit, library versions and the machine. Detect changes of code."""

import ast
import hashlib
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from itertools import accumulate
from pathlib import Path
from typing import Any

from krona.paths import INSTALLED, PROJECT, VERSION
from krona.runs.result import Result

LIBRARIES = ("torch", "transformers", "pytorch-lightning", "hydra-core", "datasets", "numpy")
CODE = ("src", "conf", "train.py")


def provenance(*, device: str, threads: int) -> dict[str, Any]:
    """Return a dict with the commit, library versions, device, number of threads and host of this process."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    versions["krona"] = VERSION
    about = {"versions": versions, "device": device, "threads": threads, "host": platform.node()}
    return {**code_version(), **about}


@cache
def code_version() -> dict[str, Any]:
    """Return the version of the code as a dict.

    ``git_commit`` is the commit, ``git_dirty`` is true if the code has changes that are not in this commit, and
    ``git_code`` is the last commit that changed the code. ``git_src`` and ``git_conf`` are git's hashes of the folders,
    which stay the same if the commit is rewritten. All values are None if the code is not in a git checkout, or is an
    installed package (even inside another project's checkout).
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
        "git_src": git("rev-parse", "HEAD:src"),
        "git_conf": git("rev-parse", "HEAD:conf"),
    }


def own_code(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the file hashes of the user's own modules that a config names in ``_target_``, by module name.

    The modules of the same folder that these modules import are included. The section ``logger`` is ignored, because
    loggers do not affect results. No module is imported.
    """
    targets = _targets([value for key, value in config.items() if key != "logger"])
    modules = sorted({target.rpartition(".")[0] for target in targets})
    return {name: digest for module in modules for name, digest in _own_modules(module).items()}


def method_code(config: Mapping[str, Any]) -> str | None:
    """Return the hash of the file that defines the method's class, or None if no file was found."""
    return _hash_module(_method_module(config))


def method_change(result: Result) -> list[str]:
    """Return a message if the file of the method's class has changed since a run."""
    then, now = result.provenance.get("method_code"), method_code(result.config)
    return [] if None in (then, now) or then == now else [f"{_method_module(result.config)} has changed since this run"]


def code_change(result: Result) -> list[str]:
    """Return messages on changes of the code since this run."""
    messages = method_change(result)
    code, then = code_version()["git_code"], result.provenance.get("git_code")
    if code is not None and then is not None and code != then:
        messages.append(f"krona has changed since this run, from commit {then[:8]} to {code[:8]}")
    return messages


def _method_module(config: Mapping[str, Any]) -> str:
    return str(config["method"].get("_target_") or "").rpartition(".")[0]


def _targets(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from [value["_target_"]] if isinstance(value.get("_target_"), str) else []
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _targets(item)


@cache  # a file that is edited later does not change the code of this process
def _hash_module(module: str) -> str | None:
    """Return the hash of a module's file, or None if it was not found."""
    folder = _find_folder(module)
    file = folder and _find_file(folder, module)
    return _hash(file.read_bytes()) if file else None


@cache
def _own_modules(module: str) -> Mapping[str, str]:
    """Return the file hashes of a user's own module and of the modules of its folder that it imports, by module name.

    Import statements are followed without an import, also those inside functions. The packages that contain a module
    are included. Return an empty dict if the module was not found or belongs to an installed package.
    """
    hashes, names, folder = dict[str, str](), [module], _find_folder(module)
    while folder is not None and names:
        for name in accumulate(names.pop().split("."), "{}.{}".format):
            file = _find_file(folder, name)
            if file is None or name in hashes or not _is_own(file):
                continue
            code = file.read_bytes()
            hashes[name] = _hash(code)
            names += _imported_names(code, package=name if file.name == "__init__.py" else name.rpartition(".")[0])
    return dict(sorted(hashes.items()))


def _imported_names(code: bytes, *, package: str) -> Iterator[str]:
    """Yield the full names in the import statements of a module. Some names are not modules but objects in a module."""
    try:
        nodes = [*ast.walk(ast.parse(code))]
    except (SyntaxError, ValueError):  # the import of the module will raise this error
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _find_folder(module: str) -> Path | None:
    """Return the first folder of Python's path, or the working directory, that contains a module."""
    folders = map(Path, (*sys.path, str(Path.cwd())))
    return next((folder for folder in folders if module and _find_file(folder, module)), None)


def _find_file(folder: Path, module: str) -> Path | None:
    base = folder.joinpath(*module.split("."))
    return next((file for file in (base / "__init__.py", base.with_name(f"{base.name}.py")) if file.is_file()), None)


def _is_own(file: Path) -> bool:
    """Return whether a file belongs to the user, and not to Python, krona or another installed package."""
    installed = {Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("platstdlib"))}
    real = file.resolve()
    return not ({"site-packages", "dist-packages"} & {*real.parts} or installed & {*real.parents})


def _hash(code: bytes) -> str:
    return hashlib.blake2b(code, digest_size=8).hexdigest()
