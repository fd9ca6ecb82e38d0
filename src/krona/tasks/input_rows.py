"""Rows to predict, from a file or standard input, in constant memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.tasks.files import Located, Oddity, Wanted, file_kind, read_rows, read_text
from krona.tasks.task import Task
from krona.tasks.text import TextFile
from krona.tasks.values import BadRowError

STDIN = "-"


class InputRows:
    """Rows to predict, from a file or from standard input (``-``).

    Iteration yields (place, row): `FILE:LINE` for messages, and column → text. It raises KronaError at a bad row.
    """

    def __init__(self, source: str, task: Task) -> None:
        self._path = None if source == STDIN else Path(source)
        self._wanted = wanted_columns(task, task.columns, to_predict=True)
        self._kind = None if self._path is None else "folder" if self._path.is_dir() else file_kind(self._path)
        self._text = None if self._kind in ("folder", ".parquet") else TextFile(self._path)
        self.name = "standard input" if self._path is None else source

    @property
    def size(self) -> int | None:
        """Number of bytes; None if unknown."""
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
                raise KronaError(f"{self.name}:{line}: {row}.")
            if not isinstance(row, Oddity):
                yield f"{self.name}:{line}", row


def wanted_columns(task: Task, columns: tuple[str, ...], *, to_predict: bool = False) -> Wanted:
    """Return the columns of a user's file. GLUE's names, and its files without a line of names, are accepted too."""
    official: Mapping[str, str] = task.tsv.columns if task.tsv else {}
    names = {name: [name, official[name]] if name in official else [name] for name in columns}
    return Wanted(names=names, header=task.tsv.header if task.tsv else None, to_predict=to_predict)
