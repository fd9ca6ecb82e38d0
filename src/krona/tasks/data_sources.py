"""Read a task's rows from its data source: the Hub, the files of GLUE or SuperGLUE, a sample task, or own files.

Each data source consists of official splits. GLUE and SuperGLUE have `train` and `validation`. MNLI has
`validation_matched` and `validation_mismatched` instead of `validation`. Sample tasks and own files have
`train`, `dev` and `test`. For own files, `dev` and `test` are optional.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from krona.display_names import BENCHMARKS
from krona.messages import KronaError
from krona.paths import expand
from krona.safe_files import sha256
from krona.tasks.files import DataFile, FileColumns, Row, require_file
from krona.tasks.rows import Data, Split, read_official_split
from krona.tasks.task import FILE_KEYS, Task
from krona.tasks.values import BadRowError, plain_value

FORMATS = {"glue": "tsv", "superglue": "jsonl"}  # maps each benchmark to the kind of data source that reads its files
# The sample tasks are part of the package. They have the columns and files of GLUE or SuperGLUE, but generated
# rows (scripts/nano/sample_tasks.py), so their scores are not comparable with scores on the benchmarks.
SAMPLE_FILES = Path(__file__).with_name("sample_tasks")
SAMPLE_FOLDERS = {
    "cola": "CoLA", "rte": "RTE", "mrpc": "MRPC", "sst2": "SST-2", "stsb": "STS-B", "mnli": "MNLI", "qnli": "QNLI",
    "qqp": "QQP", "copa": "COPA", "wic": "WiC",
}  # fmt: skip
SAMPLE_SUPERGLUE = ("copa", "wic")
SAMPLE_FINGERPRINT = "sample-1-315002c8a97a"  # a hash of the rows, which a test compares with the generated rows
SAMPLE_SUPERGLUE_FINGERPRINT = "superglue-1-cc151c10c9b4"


def check_kind(task: Task, kind: str) -> None:
    """Check that the data source contains the task.

    Sample tasks need `data=sample`, because they are part of the package. GLUE tasks need `data=hub` or `data=tsv`, and
    SuperGLUE tasks need `data=hub` or `data=jsonl`.

    Raises:
        KronaError: the data source does not contain the task.
    """
    if task.data_kind == "sample" and kind != "sample":
        raise KronaError(
            f"task={task.name} is a sample task, which data={kind} does not contain. Add data=sample (or "
            f"profile=demo), or use task={task.sample}."
        )
    if task.data_kind in BENCHMARKS and kind not in ("hub", FORMATS[task.data_kind]):
        sample = f"task=sample_{task.name}, or " if kind == "sample" and task.name in SAMPLE_FOLDERS else ""
        raise KronaError(
            f"data={kind} does not contain task={task.name}. Use {sample}{BENCHMARKS[task.data_kind]} itself with "
            f"data=hub or data={FORMATS[task.data_kind]} data.path=FOLDER."
        )


def require_files(task: Task, *, kind: str, path: str | None) -> None:
    """Check that the data source contains the task, and that all local files exist. The Hub is not used.

    Raises:
        KronaError: the data source does not contain the task, a file is missing, or data.path is set but not used.
    """
    check_kind(task, kind)
    if task.data_kind != "own" and kind not in FORMATS.values() and path is not None:
        files = FORMATS.get(task.data_kind, "tsv")
        raise KronaError(f"data.path={path} is not used with data={kind}. Add data={files}, or remove data.path.")
    if task.data_kind in BENCHMARKS and kind != "hub":
        benchmark_files(task, path)
    for name, file in own_files(task, path).items():
        if not file.exists():
            way_out = f"data.path={path} does not contain it" if path else "correct the path, or set data.path=FOLDER"
            raise KronaError(f"task {task.name}: files.{name}: {file.absolute()} was not found: {way_out}.")
        require_file(file)


def read_official_splits(task: Task, data: Data, *, prefix: bool) -> dict[str, Split]:
    """Return the rows of a task's data source by official split. `krona.tasks.splits.load` describes the arguments."""
    check_kind(task, data.kind)
    if task.data_kind in BENCHMARKS and data.kind == "hub":
        from krona.tasks.hub import hub_splits

        return hub_splits(task, data, prefix=prefix)
    if task.data_kind == "own":
        files = own_files(task, data.path)
    else:
        files = sample_files(task.sample or "") if task.data_kind == "sample" else benchmark_files(task, data.path)
    columns = file_columns(task, [*task.read_columns, task.label_column, *task.group_columns, *task.slices])
    quoting, splits = None if task.data_kind == "sample" else data.quoting, {}
    for name, path in files.items():
        origin = f"sample task {task.sample}, {name}" if task.data_kind == "sample" else str(path)
        file = DataFile(path, columns, quoting=quoting)
        splits[name] = read_official_split(task, data, name, origin, file, prefix=prefix)
    return splits


def read_others(task: Task, data: Data, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the lines and the unused columns of rows of a user's own files, by row id (`Split.others`)."""
    wanted, others = {*ids}, dict[str, dict[str, Any]]()
    used = [*task.read_columns, task.label_column]
    columns = replace(file_columns(task, used), others=True)
    for name, path in own_files(task, data.path).items():
        for position, (line, row) in enumerate(DataFile(path, columns, quoting=data.quoting)):
            if (row_id := f"{name}-{position}") in wanted and not isinstance(row, BadRowError):
                values = {name: plain_value(value) for name, value in row.items() if name not in used}
                others[row_id] = {"line": line} | ({"columns": values} if values else {})
    return others


class InputRows(DataFile):
    """The rows for which a model predicts labels, from a file or from standard input (``-``).

    The iterator yields pairs of ``FILE:LINE``, for use in messages, and the values of all columns of the row.

    Raises:
        KronaError: (while iterating) a row is bad.
    """

    def __init__(self, source: str, task: Task, *, quoting: str | None = None) -> None:
        super().__init__(
            None if source == "-" else Path(source),
            replace(file_columns(task, task.read_columns), others=True),
            quoting=quoting,
        )

    def __iter__(self) -> Iterator[tuple[str, Row]]:  # type: ignore[override]
        for line, row in super().__iter__():
            if isinstance(row, BadRowError):
                raise KronaError(f"{self.name}:{line}: {row}. Correct the row.")
            yield f"{self.name}:{line}", row


def file_columns(task: Task, columns: Sequence[str]) -> FileColumns:
    """Return the columns to read from a file.

    The column names of krona and of the benchmark's download are both accepted.
    """
    layout = task.layout
    own = {} if layout is None else layout.columns
    names = {name: [*dict.fromkeys([name, own.get(name, name)])] for name in columns}
    return FileColumns(names=names, header=None if layout is None else layout.header)


def own_files(task: Task, path: str | None) -> dict[str, Path]:
    """Return the files of a user's own task by official split.

    Relative paths are relative to ``path`` (the setting data.path) or, if ``path`` is None, to the working directory.
    """
    folder, named = expand(path) if path else Path(), task.files or {}
    return {key: folder / expand(named[key]) for key in FILE_KEYS if key in named}


def sample_files(name: str) -> dict[str, Path]:
    """Return the files of a sample task by split (train, dev and test).

    Raises:
        KronaError: no sample task has this name.
    """
    if name not in SAMPLE_FOLDERS:
        raise KronaError(f"Unknown sample task '{name}'. Choose one of {', '.join(SAMPLE_FOLDERS)}.")
    files = {"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"}
    if name == "mnli":
        files |= {"dev": "dev_mismatched.tsv", "test": "dev_matched.tsv"}
    if name in SAMPLE_SUPERGLUE:
        files = {"train": "train.jsonl", "dev": "val.jsonl", "test": "test.jsonl"}
    return {split: SAMPLE_FILES / SAMPLE_FOLDERS[name] / f"{file}.gz" for split, file in files.items()}


def benchmark_files(task: Task, path: str | None) -> dict[str, Path]:
    """Return a task's files in the download of GLUE or SuperGLUE by official split.

    The files are in ``path`` or in the task's subfolder of ``path``, such as RTE.

    Raises:
        KronaError: ``path`` is None or not a folder, or a file is missing.
    """
    layout = task.layout
    if layout is None:
        raise KronaError(
            f"task {task.name} has neither own files nor a folder in GLUE's download. Add files: {{train: FILE}} to "
            "its YAML."
        )
    if path is None:
        raise KronaError(
            f"data={FORMATS[task.data_kind]} needs the folder of the {BENCHMARKS[task.data_kind]} download, which "
            f"contains {layout.folder}/. Set data.path=FOLDER."
        )
    root = expand(path)
    if not root.is_dir():
        raise KronaError(f"data.path={path}: {'not a folder' if root.exists() else 'no such folder'}")
    candidates = (root / layout.folder, root)
    for folder in candidates:
        files = {name: folder / file for name, file in layout.files.items()}
        if all(file.is_file() for file in files.values()):
            return files
    sought = " nor ".join(f"{folder}/{{{','.join(layout.files.values())}}}" for folder in candidates)
    raise KronaError(f"data.path={path} does not contain all files of task {task.name}. It has neither {sought}.")


def data_fingerprint(task: Task, data: Data) -> str:
    """Return the fingerprint of the data that a run would read. The run id contains this fingerprint.

    The fingerprint has the form `own:<hash>`, `tsv:<hash>`, `jsonl:<hash>`, `sample:<hash>` or
    `hub:<name>/<config>@<revision>`. If a file is missing or unreadable, the fingerprint is `<source>:absent`, and the
    run itself reports the error.
    """
    try:
        if task.data_kind == "own":
            files = own_files(task, data.path)
            is_cut = not {"dev", "test"} <= files.keys() or data.test_from_train is not None
            return f"own:{_hash_files(task, files, salt=b'by hash' if is_cut else b'')}"
        if task.data_kind == "sample" or data.kind == "sample":
            is_superglue = task.sample in SAMPLE_SUPERGLUE
            return f"sample:{SAMPLE_SUPERGLUE_FINGERPRINT if is_superglue else SAMPLE_FINGERPRINT}"
        if data.kind != "hub":
            return f"{data.kind}:{_hash_files(task, benchmark_files(task, data.path))}"
        return f"hub:{data.name}/{task.hub_name}@{data.revision or 'main'}"
    except (KronaError, OSError, ValueError, TypeError):
        return f"{'own' if task.data_kind == 'own' else data.kind}:absent"


def _hash_files(task: Task, files: dict[str, Path], *, salt: bytes = b"") -> str:
    # A prefix changes the hash, because earlier versions of krona rounded the numbers of regressions, and divided rows
    # in another way (``salt``).
    digest = hashlib.sha256(b"numbers" * (task.labels is None) + salt)
    for name, path in sorted(files.items()):
        size = require_file(path)
        content = _hash_content(path.resolve(), size, path.stat().st_mtime_ns)
        digest.update(f"{name}:{content}\n".encode())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=64)
def _hash_content(file: Path, size: int, mtime_ns: int) -> str:  # if size or mtime_ns differs, the file is read again
    return sha256(file)
