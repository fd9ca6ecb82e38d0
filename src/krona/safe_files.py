"""Write files atomically, and remove files and folders."""

import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from krona.messages import KronaError, join_names

Fill = Callable[[Path], Any]  # writes a file's content
Write = Callable[[Path, Fill], None]  # writes a file atomically


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's content.

    Raises:
        KronaError: the file cannot be read.
    """
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise KronaError(f"{file} cannot be read: {error.strerror or error}") from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the content is not JSON.
    """
    return json.loads(path.read_text(encoding="utf-8"))


def write_whole(path: Path, write: Fill, *, before_replacing: Callable[[], None] = lambda: None) -> None:
    """Write a file atomically: ``write`` fills a temporary file, which then replaces ``path``.

    Args:
        before_replacing: is called when the temporary file is complete. If it raises an error, ``path`` is not
            replaced.

    Raises:
        KronaError: the file could not be written. A file that already exists at ``path`` is not changed.
    """
    part = None
    try:
        path = link_target(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        temporary.touch(exist_ok=False)  # tempfile.mkstemp would ignore the umask
        part, mode = temporary, stat.S_IMODE(temporary.stat().st_mode)
        write(part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(mode)  # safetensors creates files that only their owner can read
        before_replacing()
        part.replace(path)
    except KronaError:
        raise
    except Exception as error:  # if the disk is full, torch and safetensors raise exception types of their own
        reason = error.strerror if isinstance(error, OSError) else None
        unchanged = "" if part is None or not path.exists() else " The old file is unchanged."
        raise KronaError(
            f"{path} could not be written: {reason or f'{type(error).__name__}: {error}'}.{unchanged}"
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str, write: Write = write_whole) -> None:
    """Write a text file in UTF-8 with the atomic function ``write``."""
    write(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_new(folder: Path, files: Mapping[Path, Fill]) -> None:
    """Write new files below a folder.

    Raises:
        KronaError: a file exists already (nothing is then written), or a file could not be written.
    """
    if taken := [str(folder / file) for file in files if os.path.lexists(folder / file)]:
        raise KronaError(
            f"Nothing was written, because these files already exist: {join_names(taken)}. Use another folder."
        )
    for file, write in files.items():
        write_whole(folder / file, write)


def link_target(path: Path) -> Path:
    """Return the target of a symbolic link, so that the caller can replace the target and keep the link.

    Return any other path unchanged.

    Raises:
        KronaError: the path or the link's target is a device, a pipe or a folder, or the links form a loop.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise KronaError(f"{path} is not a regular file and is not replaced. Choose another path.")
    return target


def require_no_link(*paths: Path) -> None:
    """Raise `KronaError` if a path is a symbolic link.

    A command checks its default output paths in outputs/, because a folder from someone else may contain links.
    """
    for path in paths:
        if path.is_symlink():
            raise KronaError(
                f"{path} is a symbolic link to {path.readlink()} and is not replaced. Remove the link, or give the "
                "output another name."
            )


def remove(path: Path) -> bool:
    """Remove a file, a folder or a symbolic link, but not the target of a link.

    Return true if ``path`` does not exist afterwards.
    """
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    except OSError:
        return not os.path.lexists(path)
    return True
