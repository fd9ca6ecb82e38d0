"""Atomic writing of files: whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from krona.messages import KronaError


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it. Raises `KronaError` if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise KronaError(f"{path} could not be written: {error.strerror or error}") from error
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
