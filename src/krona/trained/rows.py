"""Rows of a file or of standard input, one after the other, in constant memory."""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from krona.messages import KronaError, did_you_mean
from krona.tasks import Task
from krona.tasks.files import as_row, json_row, read_rows
from krona.tasks.task import BadRowError

STDIN = "-"
STREAMED = (".tsv", ".csv", ".jsonl")
Located = tuple[str, Mapping[str, Any]]  # where a row stands, for messages; column → text


class Rows:
    """The rows of an input, under the task's names of its columns; `read` is how many of its bytes are read.

    A TSV and a CSV name their columns in the first line; GLUE's names of them are known too, and GLUE's files without a
    first line of names (CoLA). Fields of a TSV are not quoted.

    Raises:
        KronaError: no such file, a missing column, a line that is no row.
    """

    def __init__(self, source: str, task: Task) -> None:
        self.source, self.task = source, task
        self.path = None if source == STDIN else Path(source)
        self.name = "standard input" if self.path is None else source
        if self.path is not None and not self.path.exists():
            raise KronaError(f"{source}: no such file")
        self.size = self.path.stat().st_size if self.path is not None and self.path.is_file() else None
        self._file: BinaryIO | None = None
        layout = task.tsv
        self.renamed = {theirs: ours for ours, theirs in (layout.columns if layout else {}).items()}

    @property
    def read(self) -> int:
        if self._file is None:
            return 0
        return (self.size or 0) if self._file.closed else self._file.tell()

    def __iter__(self) -> Iterator[Located]:
        ending = STDIN if self.path is None else self.path.name.lower().removesuffix(".gz").rpartition(".")[2]
        if self.path is not None and f".{ending}" not in STREAMED:
            yield from self._of_file(self.path)
            return
        try:
            with self._opened() as lines:
                first = next(lines, None)
                if first is None:
                    raise KronaError(f"{self.name} is empty")
                if ending == STDIN:
                    ending = "jsonl" if first.lstrip().startswith("{") else "tsv"
                yield from self._rows(ending, first, lines)
        except UnicodeDecodeError as error:
            raise KronaError(f"{self.name}: not UTF-8: byte 0x{error.object[error.start]:02x}") from error
        except (OSError, EOFError, zlib.error) as error:
            raise KronaError(f"{self.name} can't be read: {error}") from error
        finally:
            if self._file is not None:  # that of a .gz stays open
                self._file.close()

    def _opened(self) -> io.TextIOWrapper:
        if self.path is None:
            return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
        self._file = self.path.open("rb")
        binary: Any = gzip.GzipFile(fileobj=self._file) if self.path.suffix.lower() == ".gz" else self._file
        return io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")

    def _of_file(self, path: Path) -> Iterator[Located]:
        for line, row in read_rows(path, self.task.columns):
            yield self._located(line, row)

    def _rows(self, ending: str, first: str, lines: Iterator[str]) -> Iterator[Located]:
        if ending == "jsonl":
            for number, text in enumerate(chain([first], lines), start=1):
                if text.strip():
                    yield self._located(number, json_row(text, self.task.columns))
            return
        quoted = ending == "csv"
        if quoted:
            reader = csv.reader(chain([first], lines), strict=True)
            table: Iterator[tuple[int, list[str]]] = ((reader.line_num, fields) for fields in reader)
        else:
            ended = (text.rstrip("\r\n") for text in chain([first], lines))
            table = ((number, text.split("\t")) for number, text in enumerate(ended, start=1))
        try:
            number, names = next(table)
            header = self._header(names)
            if header is None:
                header = list(self.task.tsv.header or ()) if self.task.tsv else []
                table = chain([(number, names)], table)
            for number, fields in table:
                if fields and (quoted or fields != [""]):
                    yield self._located(number, as_row(header, fields))
        except csv.Error as error:
            raise KronaError(f"{self.name}: not a CSV: {error}") from error

    def _header(self, names: Sequence[str]) -> list[str] | None:
        """The columns that a first line names; None if it is a row of one of GLUE's files without names."""
        ours = [self.renamed.get(name, name) for name in names]
        missing = [name for name in self.task.columns if name not in ours]
        if not missing:
            return ours
        without = self.task.tsv.header if self.task.tsv else None
        if without is not None and len(without) == len(names):
            return None
        raise KronaError(
            f"{self.name} has no column '{missing[0]}': {did_you_mean(missing[0], names)}. Its first line names the "
            f"columns; task {self.task.name} reads {' and '.join(self.task.columns)}"
        )

    def _located(self, line: int, row: Any) -> Located:
        if isinstance(row, BadRowError):
            raise KronaError(f"{self.name}:{line}: {row}")
        return f"{self.name}:{line}", row
