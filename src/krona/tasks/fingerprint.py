"""Fingerprint of the data that a run would read: part of the run's id.

Cheap, and it never fails: no torch, no `datasets`, no network; a file that is not there is "absent", and the run then
says what is wrong.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from krona.files import sha256
from krona.messages import KronaError
from krona.tasks.sample import FINGERPRINT
from krona.tasks.sources import own_files, tsv_files
from krona.tasks.task import Task


def data_fingerprint(
    task: Task, *, kind: str, path: str | None = None, name: str | None = None, revision: str | None = None
) -> str:
    """`own:<hash>`, `tsv:<hash>`, `sample:<hash>`, `hub:<name>/<config>@<revision>` or `…:absent`."""
    try:
        if task.kind == "own":
            return f"own:{_files_hash(own_files(task, path))}"
        if task.kind == "sample" or kind == "sample":
            return f"sample:{FINGERPRINT}"
        if kind == "tsv":
            return f"tsv:{_files_hash(tsv_files(task, path))}"
        return f"hub:{name}/{task.hub_name}@{revision or 'main'}"
    except (KronaError, OSError, ImportError, ValueError, TypeError):
        return f"{kind}:absent"


def _files_hash(files: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for part, path in sorted(files.items()):
        for file in sorted(path.glob("*.arrow")) if path.is_dir() else [path]:  # a folder: of save_to_disk
            state = file.stat()
            content = _content_hash(file.resolve(), state.st_size, state.st_mtime_ns)
            digest.update(f"{part}:{content}\n".encode())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=64)
def _content_hash(file: Path, size: int, mtime_ns: int) -> str:
    """size and mtime_ns are for the cache: a sweep asks for the same file in each job."""
    return sha256(file)
