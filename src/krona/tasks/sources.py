"""Sources of a task's rows: the Hub, GLUE's own files, the sample tasks, a user's own files, rows to predict.

A source gives its official parts, by name: `train` and `validation` (MNLI: `validation_matched` and
`validation_mismatched`; sample tasks and own files: `train`, `dev` and `test`, as many as there are).
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from krona.files import sha256
from krona.messages import KronaError, did_you_mean
from krona.tasks.files import Located, Oddity, Wanted, file_kind, read_rows, read_text, require_saved, split_folders
from krona.tasks.rows import DataOptions, Reading, Split
from krona.tasks.sample import FINGERPRINT, sample_files
from krona.tasks.task import FILE_KEYS, Task, TsvLayout
from krona.tasks.text import TextFile, require_file
from krona.tasks.values import BadRowError

KINDS = ("hub", "tsv", "sample")
STDIN = "-"


def check_kind(task: Task, kind: str) -> None:
    """Raise unless `data` has the task: a sample task comes with the package, a GLUE task does not."""
    if kind not in KINDS:
        raise KronaError(f"data.kind '{kind}': {did_you_mean(kind, KINDS)}")
    if task.kind == "sample" and kind != "sample":
        raise KronaError(
            f"task={task.name} is a sample task of this project and data={kind} does not have it: "
            f"add data=sample (or profile=demo), or take task={task.sample}"
        )
    if task.kind == "glue" and kind == "sample":
        raise KronaError(
            f"data=sample does not have task={task.name}: take task=sample_{task.name}, or GLUE itself with "
            "data=hub or data=tsv data.path=FOLDER"
        )


def require_files(task: Task, *, kind: str, path: str | None) -> None:
    """Raise unless `data` has the task and its files are there; what is on the Hub is not looked at."""
    check_kind(task, kind)
    if task.kind == "glue" and kind == "tsv":
        tsv_files(task, path)
    for part, file in own_files(task, path).items():
        if not file.exists():
            way_out = f"data.path={path} lacks it" if path else "set data.path=FOLDER"
            raise KronaError(f"task {task.name}: files.{part}: {file.absolute()} was not found: {way_out}")
        if file.is_dir():
            require_saved(file)
        else:
            require_file(file)


def undivided(task: Task, data: DataOptions, *, prefix: bool) -> dict[str, Split]:
    """The official parts of a task's source, undivided; the arguments are those of `load`. Raises KronaError."""
    check_kind(task, data.kind)
    reading = Reading(task=task, data=data, prefix=task.prefixed(prefix))
    if task.kind == "own":
        wanted = _wanted(task, (*task.columns, task.label_column))
        return {
            part: reading.part(part, str(file), read_rows(file, wanted, quoting=data.quoting))
            for part, file in own_files(task, data.path).items()
        }
    if task.kind == "sample":
        return {
            part: reading.part(part, f"sample task {task.sample}, {part}", _glue_rows(task, file, quoting=None))
            for part, file in sample_files(task.sample or "").items()
        }
    if data.kind == "tsv":
        return {
            part: reading.part(part, str(file), _glue_rows(task, file, quoting=data.quoting))
            for part, file in tsv_files(task, data.path).items()
        }
    from krona.tasks.hub import hub_parts

    return hub_parts(reading)


def own_files(task: Task, path: str | None) -> dict[str, Path]:
    """The files of a user's own task; relative ones start at data.path, else at the working directory.

    A single folder with the splits of a DatasetDict stands for the folder of each split.
    """
    folder = Path(path).expanduser() if path else Path()
    named = task.files or {}
    files = {key: folder / Path(named[key]).expanduser() for key in FILE_KEYS if key in named}
    return (split_folders(files["train"]) if list(files) == ["train"] else {}) or files


def tsv_files(task: Task, path: str | None) -> dict[str, Path]:
    """GLUE's files of a task in FOLDER/RTE or FOLDER itself; raises KronaError if they are not there."""
    layout = _layout(task)
    if path is None:
        raise KronaError(f"data=tsv needs the folder of the GLUE download: data.path=FOLDER (has {layout.folder}/)")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise KronaError(f"data.path={path}: {'not a folder' if root.exists() else 'no such folder'}")
    candidates = (root / layout.folder, root)
    for folder in candidates:
        files = {part: folder / file for part, file in layout.files.items()}
        if all(file.is_file() for file in files.values()):
            return files
    sought = " nor ".join(f"{folder}/{{{','.join(layout.files.values())}}}" for folder in candidates)
    there = ", ".join(sorted(entry.name for entry in itertools.islice(root.iterdir(), 20))) or "nothing"
    raise KronaError(
        f"data.path={path} does not hold all files of task {task.name}: neither {sought} (there is: {there})"
    )


def _layout(task: Task) -> TsvLayout:
    if task.tsv is None:
        raise KronaError(
            f"task {task.name} has neither files of its own nor a folder in GLUE's download: "
            "add files: {train: FILE} to its YAML"
        )
    return task.tsv


def _glue_rows(task: Task, file: Path, *, quoting: str | None) -> Iterator[Located]:
    """The rows of a file in the layout of GLUE's download."""
    layout = _layout(task)
    names = {name: [layout.columns.get(name, name)] for name in (*task.columns, task.label_column)}
    wanted = Wanted(names=names, header=layout.header, headless=layout.header is not None)
    return read_rows(file, wanted, quoting=quoting)


def _wanted(task: Task, columns: tuple[str, ...], *, to_predict: bool = False) -> Wanted:
    """Columns of a user's file; GLUE's names of them, and its files without a line of names, are known too."""
    theirs: Mapping[str, str] = task.tsv.columns if task.tsv else {}
    names = {name: [name, theirs[name]] if name in theirs else [name] for name in columns}
    return Wanted(names=names, header=task.tsv.header if task.tsv else None, to_predict=to_predict)


class InputRows:
    """Rows to predict, of a file or of standard input ("-"), one after the other in constant memory.

    Iterating gives (place, row): `FILE:LINE` for messages, and column → text. Raises KronaError at the first bad row.
    """

    def __init__(self, source: str, task: Task) -> None:
        self._path = None if source == STDIN else Path(source)
        self._wanted = _wanted(task, task.columns, to_predict=True)
        kind = None if self._path is None else "folder" if self._path.is_dir() else file_kind(self._path)
        self._text = None if kind in ("folder", ".parquet") else TextFile(self._path)
        self._kind = kind
        self.name = "standard input" if self._path is None else source

    @property
    def size(self) -> int | None:
        """Bytes of the file; None where they are not known."""
        return None if self._text is None else self._text.size

    @property
    def bytes_read(self) -> int:
        return 0 if self._text is None else self._text.bytes_read

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        rows: Iterator[Located]
        if self._text is not None:
            rows = read_text(self._text, self._kind, self._wanted)
        else:
            assert self._path is not None
            rows = read_rows(self._path, self._wanted)
        for line, row in rows:
            if isinstance(row, BadRowError):
                raise KronaError(f"{self.name}:{line}: {row}")
            if not isinstance(row, Oddity):
                yield f"{self.name}:{line}", row


def data_fingerprint(
    task: Task, *, kind: str, path: str | None = None, name: str | None = None, revision: str | None = None
) -> str:
    """Fingerprint of the data that a run would read: part of the run's id.

    `own:<hash>`, `tsv:<hash>`, `sample:<hash>`, `hub:<name>/<config>@<revision>` or `…:absent`. It is cheap and never
    fails: no torch, no `datasets`, no network. A missing file is "absent"; the run then says what is wrong.
    """
    try:
        if task.kind == "own":
            return f"own:{_files_hash(own_files(task, path))}"
        if task.kind == "sample" or kind == "sample":
            return f"sample:{FINGERPRINT}"
        if kind == "tsv":
            return f"tsv:{_files_hash(tsv_files(task, path))}"
        return f"hub:{name}/{task.hub_name}@{revision or 'main'}"
    except (KronaError, OSError, ValueError, TypeError):
        return f"{kind}:absent"


def _files_hash(files: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for part, path in sorted(files.items()):
        for file in sorted(path.glob("*.arrow")) if path.is_dir() else [path]:  # a folder: of save_to_disk
            size = require_file(file)
            content = _content_hash(file.resolve(), size, file.stat().st_mtime_ns)
            digest.update(f"{part}:{content}\n".encode())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=64)
def _content_hash(file: Path, size: int, mtime_ns: int) -> str:
    """size and mtime_ns are for the cache: a sweep asks for the same file in each job."""
    return sha256(file)
