"""Atomic writing of files: whole or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from krona.messages import KronaError, shortened

# what krona wrote under these names beside a result.json is the run's record
RUN_FILES = (
    "result.json",
    "predictions.jsonl",
    "adapter.safetensors",
    "metrics.csv",
    "tracked.jsonl",
    "claim.json",
    "last.ckpt",
    "train.log",
)

Fill = Callable[[Path], Any]  # writes a file's content
Write = Callable[[Path, Fill], None]  # writes a file whole or not at all


def sha256(file: Path) -> str:
    """The SHA-256 of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_whole(path: Path, write: Fill, *, part_in: Path | None = None) -> None:
    """Let ``write`` fill a temporary file, then rename it. Raises `KronaError` if that fails.

    ``part_in``: the temporary file's folder, on the same file system; None: beside ``path``.
    """
    try:
        if part_in is None:
            path = _behind_links(path)
            path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=part_in or path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise KronaError(f"{path} could not be written: {getattr(error, 'strerror', None) or error}") from error
    part = Path(name)
    try:
        write(part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(0o644)
        part.replace(path)
    except KronaError:
        raise
    except Exception as error:  # torch and safetensors raise their own kinds for a full disk
        why = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
        raise KronaError(f"{path} could not be written: {why}. The old file is unchanged") from error
    finally:
        part.unlink(missing_ok=True)


def _behind_links(path: Path) -> Path:
    """The file that a path names, so that links stay. Raises `KronaError` where it is a device, a pipe or a folder."""
    target = path.resolve() if path.is_symlink() else path
    if target.exists() and not target.is_file():
        raise KronaError(f"{path} is no plain file, and is not replaced by one")
    return target


def require_out(path: Path) -> None:
    """Raise `KronaError` before the work where a file of the user's choice can't be written, or is a run's own."""
    try:
        if path.is_dir():
            raise KronaError(f"{path} is a folder: name a file in it")
        target = _behind_links(path)
        if target.name in RUN_FILES and (target.name == "result.json" or target.with_name("result.json").exists()):
            raise KronaError(f"{path} is a run's own file: take another name")
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links
        raise KronaError(f"{shortened(path)} can't be written: {getattr(error, 'strerror', None) or error}") from error


def require_new(path: Path, *, overwrite: bool) -> None:
    """`require_out`, and raise `KronaError` for a file that is there, unless it is to be replaced."""
    require_out(path)
    if path.exists() and not overwrite:
        raise KronaError(f"{path} exists: --overwrite replaces it")
