"""Read the rows for which a model predicts labels, one at a time, from a file or from standard input."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.tasks.data_files import Located, Oddity, Wanted, file_kind, read_rows, read_text
from krona.tasks.task import Task
from krona.tasks.text_lines import TextFile
from krona.tasks.values import BadRowError

STDIN = "-"


class InputRows:
    """The rows of a file, or of standard input (``-``), for the prediction of labels.

    The iterator yields pairs of `FILE:LINE`, for use in messages, and a dict from each column to the row's text. It
    raises `KronaError` for a bad row. ``quoting`` is the setting data.quoting.
    """

    def __init__(self, source: str, task: Task, *, quoting: str | None = None) -> None:
        self._quoting = quoting
        self._path = None if source == STDIN else Path(source)
        self._wanted = wanted_columns(task, task.columns, to_predict=True)
        self._kind = None if self._path is None else "folder" if self._path.is_dir() else file_kind(self._path)
        self._text = None if self._kind in ("folder", ".parquet") else TextFile(self._path)
        self.name = "standard input" if self._path is None else source
        self.quoted = 0  # rows of a TSV with quotes as a spreadsheet writes them, which are read as part of the text

    @property
    def size(self) -> int | None:
        """The number of bytes of the file, or None if it is not known."""
        return None if self._text is None else self._text.size

    @property
    def bytes_read(self) -> int:
        return 0 if self._text is None else self._text.bytes_read

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        rows: Iterator[Located]
        if self._text is not None:
            rows = read_text(self._text, self._kind, self._wanted, quoting=self._quoting)
        else:
            assert self._path is not None
            rows = read_rows(self._path, self._wanted)
        for line, row in rows:
            if isinstance(row, BadRowError):
                raise KronaError(f"{self.name}:{line}: {row}.")
            if isinstance(row, Oddity):
                self.quoted += row is Oddity.QUOTED
            else:
                yield f"{self.name}:{line}", row


def wanted_columns(task: Task, columns: tuple[str, ...], *, to_predict: bool = False) -> Wanted:
    """Return the description of the columns to read from a user's file.

    Column names of GLUE's download, and files without a header line such as CoLA's, are accepted too.
    """
    official: Mapping[str, str] = task.tsv.columns if task.tsv else {}
    names = {name: [name, official[name]] if name in official else [name] for name in columns}
    return Wanted(names=names, header=task.tsv.header if task.tsv else None, to_predict=to_predict)
