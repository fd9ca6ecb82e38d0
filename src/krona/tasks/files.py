"""Readers of data files (TSV, CSV, JSONL and Parquet, UTF-8): rows with their line numbers.

A reader yields `(line, row)`, or `(line, BadRowError)`, because the caller may skip and count bad rows. A file that
cannot be read at all raises KronaError.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from krona.messages import KronaError, amount, did_you_mean
from krona.tasks.task import BadRowError

Row = Mapping[str, Any]
Located = tuple[int, Row | BadRowError]


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    """The rows of a user's file, by its ending; `columns` must all be there."""
    readers: dict[str, Callable[[Path, Sequence[str]], Iterator[Located]]] = {
        ".tsv": read_tsv,
        ".csv": _read_csv,
        ".jsonl": _read_jsonl,
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise KronaError(f"{path}: a data file ends in {', '.join(readers)}, not in '{path.suffix}'")
    return reader(path, columns)


def read_tsv(path: Path, columns: Sequence[str], *, header: Sequence[str] | None = None) -> Iterator[Located]:
    """Tab-separated; a quote is a character like any other. `header` names the columns of a file without one."""
    lines = _read_text(path).split("\n")  # not splitlines(): U+2028 and form feeds are text
    while lines and lines[-1].strip("\r") == "":
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    first = 1 if header is None else 0
    names = lines[0].split("\t") if header is None else list(header)
    _check_columns(path, names, columns)
    for line, text in enumerate(lines[first:], start=first + 1):
        yield line, _as_row(names, text.split("\t"))


def _read_csv(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    try:
        names = next(reader)
        _check_columns(path, names, columns)
        for fields in reader:
            if fields:  # a blank line is no row of a CSV
                yield reader.line_num, _as_row(names, fields)
    except csv.Error as error:
        raise KronaError(
            f"{path}:{reader.line_num}: not a CSV row: {error}. Put a field with a quote, a comma or a line end in "
            'it in quotes, and double its quotes: "say ""yes"""'
        ) from error


def _read_jsonl(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    for line, text in enumerate(_read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            yield line, BadRowError(f"not a JSON object: {error}")
            continue
        if not isinstance(row, dict):
            yield line, BadRowError(f"a line must be a JSON object with {', '.join(columns)}")
            continue
        absent = next((name for name in columns if name not in row), None)
        yield line, row if absent is None else BadRowError(f"no '{absent}': {did_you_mean(absent, row)}")


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _read_bytes(path)  # its errors are about the file, pyarrow's are about its content
    try:
        _check_columns(path, pq.read_schema(path).names, columns)
        table = pq.read_table(path, columns=list(columns))
    except pa.ArrowException as error:
        raise KronaError(f"{path} is not a Parquet file that can be read: {error}") from error
    yield from enumerate(table.to_pylist(), start=1)


def _as_row(names: Sequence[str], fields: Sequence[str]) -> Row | BadRowError:
    if len(fields) != len(names):
        return BadRowError(f"{amount(len(fields), 'field')}, but the file has {amount(len(names), 'column')}")
    return dict(zip(names, fields, strict=True))


def _check_columns(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    for name in columns:
        if name not in names:
            hint = " (a CSV's columns are separated by commas)" if ";" in "".join(names) else ""
            raise KronaError(f"{path} has no column '{name}'{hint}: {did_you_mean(name, names)}")
        if (count := list(names).count(name)) > 1:
            raise KronaError(f"{path} has {count} columns named '{name}'")


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        place = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise KronaError(f"{path}: no such file{place}") from error
    except OSError as error:
        raise KronaError(f"{path} cannot be read: {error.strerror}") from error
    if not data.strip():
        raise KronaError(f"{path} is empty ({len(data)} bytes)")
    return data


def _read_text(path: Path) -> str:
    data = _read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
        offset = text.find("\0")  # UTF-16 of plain English is valid UTF-8, full of NULs
        if offset < 0:
            return text
        offset = len(text[:offset].encode())
    except UnicodeDecodeError as error:
        offset = error.start
    line = data.count(b"\n", 0, offset) + 1
    raise KronaError(
        f"{path}:{line}: not UTF-8: byte 0x{data[offset]:02x} at offset {offset}. Convert it, for example: "
        f"iconv -f LATIN1 -t UTF-8 {path.name} > utf8{path.suffix}"
    )
