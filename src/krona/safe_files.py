"""Write files atomically, and remove files without following symbolic links."""

import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from krona.messages import KronaError, join_names

Fill = Callable[[Path], Any]  # writes a file's content
Write = Callable[[Path, Fill], None]  # writes a file atomically
MAX_JSON = 2**26  # bytes


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def parse_json(text: str) -> Any:
    """Return the value of a JSON text. Raises ValueError if the text is invalid, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a regular file, is larger than `MAX_JSON`, or does not contain JSON.
    """
    return parse_json(read_text(path, limit=MAX_JSON))


def read_text(path: Path, *, limit: int) -> str:
    """Return the text of a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a regular file, has more than ``limit`` bytes, or is not in UTF-8.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("it is not a regular file")
    if about.st_size > limit:
        raise ValueError(f"it has {about.st_size:,} bytes, but the limit is {limit:,}")
    return path.read_text(encoding="utf-8")


def write_whole(path: Path, write: Fill, *, part_in: Path | None = None) -> None:
    """Write a file atomically: ``write`` fills a temporary file, which then replaces ``path``.

    The temporary file is in ``part_in``, on the same file system, or else in the folder of ``path``.

    Raises:
        KronaError: the file could not be written. An old file at ``path`` is unchanged.
    """
    part = None
    try:
        if part_in is None:
            path = link_target(path)
            path.parent.mkdir(parents=True, exist_ok=True)
        temporary = (part_in or path.parent) / f".{path.name}.{uuid.uuid4().hex[:8]}"
        temporary.touch(exist_ok=False)  # not tempfile.mkstemp, which ignores the umask
        part, mode = temporary, stat.S_IMODE(temporary.stat().st_mode)
        write(part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(mode)  # safetensors writes files that only their owner can read
        part.replace(path)
    except KronaError:
        raise
    except Exception as error:  # torch and safetensors raise their own errors for a full disk
        reason = error.strerror if isinstance(error, OSError) else None
        unchanged = "" if part is None or not path.exists() else " The old file is unchanged."
        raise KronaError(
            f"{path} could not be written: {reason or f'{type(error).__name__}: {error}'}.{unchanged}"
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def write_new(folder: Path, files: Mapping[Path, Fill]) -> None:
    """Write new files below a folder, or none of them if one cannot be written.

    Raises:
        KronaError: a file exists, or a folder above it is a file or a symbolic link. Nothing was written.
    """
    taken = [folder / file for file in files if os.path.lexists(folder / file)]
    for path in dict.fromkeys(folder / above for file in files for above in file.parents if above.name):
        taken += [path] if path.is_symlink() or (path.exists() and not path.is_dir()) else []
    if taken:
        names = join_names([str(path) for path in taken])
        raise KronaError(f"Nothing was written, because these files already exist: {names}. Use another folder.")
    made: list[Path] = []
    try:
        for file, write in files.items():
            path = folder / file
            for above in reversed(path.parents):
                if not above.exists():
                    above.mkdir()
                    made.append(above)
            write_whole(path, write)
            made.append(path)
    except BaseException as error:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            raise KronaError(f"{path} could not be written: {error.strerror or error}. Nothing was written.") from error
        raise


def link_target(path: Path) -> Path:
    """Return the target of a symbolic link, so that writing keeps the link. Return any other path unchanged.

    Raises:
        KronaError: the target is a device, a pipe or a folder.
    """
    target = path.resolve() if path.is_symlink() else path
    if target.exists() and not target.is_file():
        raise KronaError(f"{path} is not a regular file and is not replaced. Choose another path.")
    return target


def is_below(top: Path, path: Path) -> bool:
    """Return whether ``path`` is below ``top``, and each folder between them exists and is not a symbolic link."""
    if ".." in path.parts or top not in path.parents:
        return False
    folder = path.parent
    while folder != top and folder.is_dir() and not folder.is_symlink():
        folder = folder.parent
    return folder == top and top.is_dir()


def remove_below(top: Path, path: Path) -> bool:
    """Remove a file, a folder or a symbolic link. Return true if ``path`` does not exist afterwards.

    The target of a link is kept. Nothing is removed if a folder between ``top`` and ``path`` is a symbolic link.

    Raises:
        ValueError: ``path`` is not below ``top``.
    """
    if ".." in path.relative_to(top).parts:
        raise ValueError(f"{path} is not below {top}")
    try:
        if not os.path.lexists(path):
            return True
        if not is_below(top, path):
            return False
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
