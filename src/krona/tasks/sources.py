"""Sources of a task's rows: the Hub, GLUE's own files, the sample tasks of this project, a user's own files.

Each source gives its official parts, by name: `train` and `validation` (MNLI: `validation_matched` and
`validation_mismatched`; sample tasks and own files: `train`, `dev` and `test`, as many as there are).
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from krona.messages import KronaError, did_you_mean
from krona.tasks.files import Located, Oddity, read_rows, read_tsv, require_saved, split_folders
from krona.tasks.rows import Reading, Split
from krona.tasks.sample import sample_files
from krona.tasks.task import FILE_KEYS, BadRowError, Task, TsvLayout
from krona.tasks.text import read_text

KINDS = ("hub", "tsv", "sample")


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
            raise KronaError(f"task {task.name}: files.{part}: {file.absolute()} is no file: {way_out}")
        if file.is_dir():
            require_saved(file)


def read_parts(
    reading: Reading, *, kind: str, path: str | None, name: str | None, revision: str | None
) -> dict[str, Split]:
    task = reading.task
    check_kind(task, kind)
    if task.kind == "own":
        return _own_parts(reading, path)
    if task.kind == "sample":
        return _sample_parts(reading)
    if kind == "tsv":
        return _tsv_parts(reading, path)
    from krona.tasks.hub import hub_parts

    return hub_parts(reading, name=name, revision=revision)


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


def _own_parts(reading: Reading, path: str | None) -> dict[str, Split]:
    files = own_files(reading.task, path)
    return {part: reading.part(part, str(file), _own_rows(reading, file)) for part, file in files.items()}


def _own_rows(reading: Reading, file: Path) -> Iterator[Located]:
    """The rows of a user's file; a GLUE task's own TSV files (GLUE's names of the columns, or none) are known too."""
    task, layout = reading.task, reading.task.tsv
    ours = {name: name for name in (*task.columns, task.label_column)}
    if layout is not None and file.suffix == ".tsv" and file.is_file():
        names = read_text(file).partition("\n")[0].rstrip("\r").split("\t")
        theirs = {name: name if name in names else layout.columns.get(name, name) for name in ours}
        headless = layout.header is not None and len(names) == len(layout.header)
        if theirs != ours or (headless and not {*ours} <= {*names}):
            header = layout.header if headless else None
            found = read_tsv(file, list(theirs.values()), header=header, quoting=reading.quoting)
            return _renamed(found, theirs)
    return read_rows(file, list(ours), quoting=reading.quoting)


def _tsv_parts(reading: Reading, path: str | None) -> dict[str, Split]:
    files = tsv_files(reading.task, path)
    return {part: _glue_part(reading, part, file, origin=str(file)) for part, file in files.items()}


def _sample_parts(reading: Reading) -> dict[str, Split]:
    name = reading.task.sample or ""
    unquoted = replace(reading, quoting=None)  # data.quoting is for a user's files
    return {
        part: _glue_part(unquoted, part, file, origin=f"sample task {name}, {part}")
        for part, file in sample_files(name).items()
    }


def _glue_part(reading: Reading, part: str, file: Path, *, origin: str) -> Split:
    """A file in the layout of GLUE's download."""
    task, layout = reading.task, _layout(reading.task)
    ours = {name: layout.columns.get(name, name) for name in (*task.columns, task.label_column)}
    rows = read_tsv(file, list(ours.values()), header=layout.header, quoting=reading.quoting)
    return reading.part(part, origin, _renamed(rows, ours))


def _renamed(rows: Iterable[Located], ours: Mapping[str, str]) -> Iterator[Located]:
    for line, row in rows:
        if isinstance(row, BadRowError | Oddity):
            yield line, row
        else:
            yield line, {name: row[column] for name, column in ours.items()}
