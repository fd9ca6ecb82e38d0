"""Keep computed values in `outputs/.index`, so that later commands are faster. The folder can be deleted at any time.

A file is written atomically, so no locks are needed. If two processes write it, one of them computes its values again.
"""

import json
import zlib
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.safe_files import is_below, parse_json, read_text, write_whole

FOLDER = ".index"
MAX_BYTES = 2**30


def read_cache(outputs: Path, name: str, *, version: str) -> Any:
    """Return the value that `write_cache` stored, or None if it is missing, damaged or of another version."""
    file = outputs / FOLDER / name
    if not is_below(outputs, file):
        return None
    try:
        heading, _, text = read_text(file, limit=MAX_BYTES).partition("\n")
        return parse_json(text) if heading == _heading(version, text) else None
    except (OSError, ValueError):
        return None


def write_cache(outputs: Path, name: str, value: Any, *, version: str) -> None:
    """Store a value of JSON types. Do nothing if the folder is read-only or a symbolic link, or if the disk is full."""
    file, text = outputs / FOLDER / name, json.dumps(value)
    with suppress(OSError, KronaError):
        file.parent.mkdir(exist_ok=True)
        if is_below(outputs, file) and not file.is_symlink():
            content = f"{_heading(version, text)}\n{text}"
            write_whole(file, partial(Path.write_text, data=content, encoding="utf-8"))


def _heading(version: str, text: str) -> str:
    return f"{version} {zlib.crc32(text.encode())}"
