"""Read data files (TSV, CSV, JSONL, Parquet) row by row, with line numbers."""

import csv
import gzip
import io
import json
import stat
import sys
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from krona.messages import KronaError, did_you_mean, plural
from krona.tasks.values import BadRowError

Row = Mapping[str, Any]
NumberedRow = tuple[int, Row | BadRowError]  # the line number, and the row or its error
KINDS = (".tsv", ".csv", ".jsonl", ".parquet")
UTF16 = "is UTF-16, not UTF-8. Convert it, for example: iconv -f UTF-16 -t UTF-8 FILE > NEW_FILE"
SIGNATURES = {  # the first bytes of files that are not UTF-8 text
    b"\xff\xfe": UTF16,
    b"\xfe\xff": UTF16,
    b"PK\x03\x04": "is an Excel workbook or a zip archive. Save the sheet as CSV UTF-8, or unpack the archive",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook. Save its sheet as CSV UTF-8",
    b"\x1f\x8b": "is compressed with gzip. Add .gz to its name",
    b"PAR1\x15": "is a Parquet file. Change the end of its name to .parquet",
}


@dataclass(frozen=True, kw_only=True)
class FileColumns:
    """The columns to read from a file."""

    names: Mapping[str, Sequence[str]]  # maps each column to its possible names in a file, the preferred name first
    header: Sequence[str] | None = None  # the column names of a file without a header line
    others: bool = False  # whether the rows also have the file's other columns, which are not in ``names``

    def missing(self, found: Iterable[str]) -> list[str]:
        known = {*found}
        return [column for column, names in self.names.items() if known.isdisjoint(names)]

    def find(self, where: str, found: Sequence[str], *, hint: str = "") -> dict[str, str]:
        """Return the name that each column has in a file with the column names ``found``.

        Raises:
            KronaError: a column is missing or repeated.
        """
        for column in self.missing(found):
            either = " or ".join(f"'{name}'" for name in self.names[column])
            commas = " (in a CSV, commas separate the columns)" if ";" in "".join(found) else ""
            near = did_you_mean(self.names[column][0], found)
            raise KronaError(f"{where} has no column {either}{commas}: {near}{hint}")
        chosen = self.choose(found)
        if twice := [name for column, name in chosen.items() if column in self.names and found.count(name) > 1]:
            raise KronaError(f"{where} has {found.count(twice[0])} columns named '{twice[0]}'.")
        return chosen

    def choose(self, found: Collection[str]) -> dict[str, str]:
        """Return the name that each column has among ``found``. Other columns without a name are left out."""
        chosen = {column: next(name for name in names if name in found) for column, names in self.names.items()}
        if not self.others:
            return chosen
        columns = {name: column for column, name in chosen.items()}
        return {columns.get(name, name): name for name in found if name}


class DataFile:
    """The rows of a data file. The iterator yields pairs of a line number, and the row or the error of a bad row.

    Args:
        path: a file, or None for standard input (JSONL or TSV).
        quoting: ``csv`` if the fields of a TSV are quoted as in a CSV; otherwise None.

    Raises:
        KronaError: the file does not exist, its format is not supported, or (while iterating) the file cannot be read.
    """

    def __init__(self, path: Path | None, columns: FileColumns, *, quoting: str | None = None) -> None:
        self.path, self.columns, self.quoting = path, columns, quoting
        self.name = "standard input" if path is None else str(path)
        self.kind = None if path is None else _file_kind(path)
        self._binary: BinaryIO | None = None

    def __iter__(self) -> Iterator[NumberedRow]:
        try:
            yield from self._read()
        finally:  # after an error, the traceback would keep the file open
            if self._binary is not None:
                self._binary.close()

    def _read(self) -> Iterator[NumberedRow]:
        if self.kind == ".parquet":
            return self._read_parquet()
        lines, kind = self._lines(), self.kind
        if kind is None:
            first = next(lines)
            kind, lines = ".jsonl" if first.lstrip().startswith("{") else ".tsv", chain([first], lines)
        if kind == ".jsonl":
            numbered = ((line, text) for line, text in enumerate(lines, 1) if text.strip())
            return ((line, row) for line, text in numbered for row in _parse_json(text, self.columns))
        if kind == ".csv" or self.quoting == "csv":
            return self._select(_split_quoted(self.name, lines, delimiter="," if kind == ".csv" else "\t"))
        return self._select(_split_plain(lines), hint=". If a spreadsheet wrote the quotes, set data.quoting=csv")

    def _lines(self) -> Iterator[str]:
        number, empty = 0, True
        try:
            with nullcontext(sys.stdin.buffer) if self.path is None else self.path.open("rb") as binary:
                self._binary = None if self.path is None else binary
                packed = self.path is not None and self.path.suffix.lower() == ".gz"
                for number, raw in enumerate(gzip.GzipFile(fileobj=binary) if packed else binary, start=1):
                    for signature, problem in SIGNATURES.items() if number == 1 else ():
                        if raw.startswith(signature):
                            raise KronaError(f"{self.name} {problem}.")
                    empty = empty and not raw.strip()
                    yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise KronaError(
                f"{self.name}:{number}: not UTF-8: byte 0x{error.object[error.start]:02x}. Convert the file, for "
                "example: iconv -f CP1252 -t UTF-8 FILE > NEW_FILE"
            ) from error
        except (OSError, EOFError, zlib.error) as error:
            raise KronaError(f"{self.name} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
        if empty:
            raise KronaError(f"{self.name} is empty.")

    def _select(self, records: Iterator[tuple[int, list[str]]], *, hint: str = "") -> Iterator[NumberedRow]:
        """Yield the columns of each record, or an error if the number of fields is wrong.

        If such a row contains quotes, ``hint`` is added to the error message.
        """
        first = next(records)
        names, header = first[1], self.columns.header
        if header is not None and len(names) == len(header) and self.columns.missing(names):
            names, records = [*header], chain([first], records)
        chosen = self.columns.find(self.name, names, hint=". The first line names the columns")
        positions = {column: names.index(name) for column, name in chosen.items()}
        for line, fields in records:
            if len(fields) == len(names):
                yield line, {column: fields[position] for column, position in positions.items()}
                continue
            problem = f"the row has {plural(len(fields), 'field')}, but the file has {plural(len(names), 'column')}"
            quoted = any(field[:1] == '"' or field[-1:] == '"' for field in fields)
            yield line, BadRowError(problem + hint * quoted, kind="wrong number of fields")

    def _read_parquet(self) -> Iterator[NumberedRow]:
        from pyarrow.parquet import ParquetFile

        assert self.path is not None
        try:
            data = ParquetFile(self.path)
            chosen = self.columns.find(self.name, data.schema_arrow.names)
            line = 0
            for batch in data.iter_batches(columns=[*dict.fromkeys(chosen.values())]):
                batch.validate(full=True)
                for row in batch.to_pylist():
                    line += 1
                    yield line, {column: row[name] for column, name in chosen.items()}
        except KronaError:
            raise
        except Exception as error:  # the library raises many types of errors
            raise KronaError(f"{self.path} is not a readable Parquet file: {error}") from error


def require_file(path: Path) -> int:
    """Return the size of a file in bytes.

    Raises:
        KronaError: the path is not a regular file.
    """
    try:
        state = path.stat()
    except FileNotFoundError as error:
        folder = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise KronaError(f"{path}: no such file{folder}.") from error
    except OSError as error:
        raise KronaError(f"{path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(state.st_mode):
        raise KronaError(f"{path} is not a regular file. Give a file, not a folder, a device or a FIFO.")
    return state.st_size


def _file_kind(path: Path) -> str:
    """Return the suffix of a data file without ``.gz``."""
    require_file(path)
    suffix = "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:])
    kind = suffix.lower().removesuffix(".gz")
    if kind not in KINDS or suffix.lower() == ".parquet.gz":
        raise KronaError(
            f"{path} ends in '{suffix}', but a data file must end in {', '.join(KINDS)}. The first three may be "
            "compressed (.tsv.gz)."
        )
    return kind


def _split_plain(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, start=1):
        if text := line.removesuffix("\n").removesuffix("\r"):
            yield number, text.split("\t")


def _split_quoted(name: str, lines: Iterator[str], *, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # a CR alone ends a line too
    split = chain.from_iterable(io.StringIO(line, newline="") if "\r" in line[:-2] else (line,) for line in lines)
    reader, line = csv.reader(split, delimiter=delimiter, strict=True), 0
    try:
        for fields in reader:
            if fields:  # a blank line is not a row
                yield line + 1, fields
            line = reader.line_num
    except csv.Error as error:
        raise KronaError(
            f"{name}:{line + 1}: the row is not valid CSV: {error}. Put a field with a quote, a comma or a line "
            'end in quotes, and double the quotes in it: "say ""yes""". A closing quote may be missing.'
        ) from error


def _parse_json(text: str, columns: FileColumns) -> Iterator[Row | BadRowError]:
    """Yield the columns of each row in a line (a JSON object), or the error of a bad row.

    If a column name contains a dot, `_flatten` turns the line into several rows. Otherwise, the line is one row.
    """
    try:
        record = json.loads(text.rstrip())
        if "\\ud" in text.lower():  # half of a surrogate pair cannot be encoded
            json.dumps(record, ensure_ascii=False).encode()
    except ValueError as error:
        reason = f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else error
        yield BadRowError(f"the line is not a JSON object: {reason}", kind="no JSON object")
        return
    if not isinstance(record, dict):
        yield BadRowError(f"the line is not a JSON object with {', '.join(columns.names)}", kind="no JSON object")
        return
    nested = any("." in name for names in columns.names.values() for name in names)
    for row in _flatten(record) if nested else [record]:
        if missing := columns.missing(row):
            key = columns.names[missing[0]][0]
            yield BadRowError(f"the key '{key}' is missing: {did_you_mean(key, row)}", kind="missing column")
        else:
            yield {column: row[name] for column, name in columns.choose(row).items()}


def _flatten(record: Mapping[str, Any], prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield one row for each object in the lists of a nested JSON object, with keys such as `passage.text`."""
    rows: list[dict[str, Any]] = [{}]
    for key, value in record.items():
        inner = [value] if isinstance(value, dict) else value
        if inner and isinstance(inner, list) and all(isinstance(item, dict) for item in inner):
            inner_rows = [inner_row for item in inner for inner_row in _flatten(item, f"{prefix}{key}.")]
        else:
            inner_rows = [{f"{prefix}{key}": value}]
        rows = [row | inner_row for row in rows for inner_row in inner_rows]
    yield from rows
