"""Readers of data files (TSV, CSV, JSONL, Parquet, folders of `save_to_disk`): rows with their line numbers.

A reader yields `(line, row)`, or `(line, BadRowError)`, because the caller may skip and count bad rows. Before a row
it may yield `(line, Oddity)`. A file that cannot be read at all raises KronaError.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from krona.messages import KronaError, amount, did_you_mean
from krona.tasks.task import BadRowError
from krona.tasks.text import read_bytes, read_text

Row = Mapping[str, Any]
SPLIT_FOLDERS = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}  # of a DatasetDict


class Oddity(Enum):
    """What a row is read with all the same, although it may not be what its writer meant."""

    QUOTED = "a field in quotes with doubled quotes in it, in a TSV"
    SPANNING = "a field with a line end in it"
    EMPTY = "an empty text"


Located = tuple[int, Row | BadRowError | Oddity]


def read_rows(path: Path, columns: Sequence[str], *, quoting: str | None = None) -> Iterator[Located]:
    """The rows of a user's file, by its ending; `columns` must all be there. quoting: `csv` or None, of a TSV."""
    if path.is_dir():
        return _read_saved(path, columns)
    readers: dict[str, Callable[[], Iterator[Located]]] = {
        ".tsv": lambda: read_tsv(path, columns, quoting=quoting),
        ".csv": lambda: _read_quoted(path, columns, delimiter=","),
        ".jsonl": lambda: _read_jsonl(path, columns),
        ".parquet": lambda: _read_parquet(path, columns),
    }
    packed = {f"{ending}.gz": readers[ending] for ending in (".tsv", ".csv", ".jsonl")}
    ending = "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:])
    reader = (readers | packed).get(ending.lower())
    if reader is None:
        if not path.exists():
            read_bytes(path)  # raises
        raise KronaError(
            f"{path}: a data file ends in {', '.join(readers)}, not in '{ending}'. The first three may be packed "
            "(.tsv.gz); a folder that save_to_disk of datasets wrote is read too"
        )
    return reader()


def read_tsv(
    path: Path, columns: Sequence[str], *, header: Sequence[str] | None = None, quoting: str | None = None
) -> Iterator[Located]:
    """Tab-separated; a quote is a character like any other, with quoting=csv the mark of a quoted field.

    `header` names the columns of a file without a header line.
    """
    if quoting == "csv":
        yield from _read_quoted(path, columns, delimiter="\t", header=header)
        return
    lines = read_text(path).split("\n")  # not splitlines(): U+2028 and form feeds are text
    while lines and lines[-1].strip("\r") == "":
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    first = 1 if header is None else 0
    names = lines[0].split("\t") if header is None else list(header)
    _check_columns(path, names, columns)
    for line, text in enumerate(lines[first:], start=first + 1):
        fields = text.split("\t")
        if '""' in text and any(map(_is_quoted, fields)):
            yield line, Oddity.QUOTED
        row = as_row(names, fields)
        if isinstance(row, BadRowError) and any(field.startswith('"') or field.endswith('"') for field in fields):
            row = BadRowError(f"{row}; if a spreadsheet wrote its quotes: data.quoting=csv", kind=row.kind)
        yield line, row


def _is_quoted(field: str) -> bool:
    return field[:1] == '"' == field[-1:] and '""' in field[1:-1]


def _read_quoted(
    path: Path, columns: Sequence[str], *, delimiter: str, header: Sequence[str] | None = None
) -> Iterator[Located]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    line = 0  # the last one that was read
    try:
        names = next(reader) if header is None else list(header)
        _check_columns(path, names, columns)
        line = reader.line_num
        for fields in reader:
            first, line = line + 1, reader.line_num
            if not fields:  # a blank line is no row of a CSV
                continue
            row = as_row(names, fields)
            if line > first:
                yield first, Oddity.SPANNING
                if isinstance(row, BadRowError):
                    row = BadRowError(f"{row}; the row ends in line {line}: is a quote left open?", kind=row.kind)
            yield first, row
    except csv.Error as error:
        raise _not_csv(f"{path}:{line + 1}", error) from error


def _not_csv(where: str, error: csv.Error) -> KronaError:
    if "field limit" in str(error):
        return KronaError(
            f"{where}: a field of more than {csv.field_size_limit():,} characters: mostly, a quote opens it and is "
            "never closed. Correct the row; texts that are so long can be read from a .jsonl file"
        )
    return KronaError(
        f"{where}: not a CSV row: {error}. Put a field with a quote, a comma or a line end in it in quotes, and double "
        'its quotes: "say ""yes"""'
    )


def _read_jsonl(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if text.strip():
            yield line, json_row(text, columns)


def json_row(text: str, columns: Sequence[str]) -> Row | BadRowError:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        return BadRowError(f"not a JSON object: {error}", kind="no JSON object")
    if not isinstance(row, dict):
        return BadRowError(f"a line must be a JSON object with {', '.join(columns)}", kind="no JSON object")
    for name in columns:
        if name not in row:
            return BadRowError(f"no '{name}': {did_you_mean(name, row)}", kind="missing column")
        if "\\u" in text and isinstance(row[name], str):
            try:
                row[name].encode()
            except UnicodeEncodeError as error:
                half = f"\\u{ord(row[name][error.start]):04x}"
                what = f"the column '{name}' has half of a surrogate pair, {half}, which is no character"
                return BadRowError(what, kind="half of a surrogate pair")
    return row


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    read_bytes(path)  # its errors are about the file, pyarrow's are about its content
    try:
        _check_columns(path, pq.read_schema(path).names, columns)
        table = pq.read_table(path, columns=list(columns))
    except pa.ArrowException as error:
        raise KronaError(f"{path} is not a Parquet file that can be read: {error}") from error
    yield from enumerate(table.to_pylist(), start=1)


def split_folders(folder: Path) -> dict[str, Path]:
    """train, dev and test of a folder that `DatasetDict.save_to_disk` wrote; empty for any other."""
    if not (folder / "dataset_dict.json").is_file():
        return {}
    return {part: folder / name for name, part in SPLIT_FOLDERS.items() if (folder / name).is_dir()}


def require_saved(path: Path) -> None:
    """Raise unless `Dataset.save_to_disk` wrote the folder."""
    if (path / "dataset_dict.json").is_file():
        splits = ", ".join(sorted(entry.name for entry in path.iterdir() if entry.is_dir()))
        raise KronaError(f"{path} holds several splits ({splits}): name one of them: FOLDER/SPLIT")
    if not (path / "state.json").is_file():
        raise KronaError(f"{path} is a folder, but not one that save_to_disk of datasets wrote (it has no state.json)")


def _read_saved(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    import datasets

    require_saved(path)
    try:
        data = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KronaError(f"{path} cannot be read as a saved data set: {error}") from error
    _check_columns(path, data.column_names, columns)
    yield from enumerate(data.select_columns(list(columns)), start=1)


def as_row(names: Sequence[str], fields: Sequence[str]) -> Row | BadRowError:
    if len(fields) != len(names):
        what = f"{amount(len(fields), 'field')}, but the file has {amount(len(names), 'column')}"
        return BadRowError(what, kind="wrong number of fields")
    return dict(zip(names, fields, strict=True))


def _check_columns(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    for name in columns:
        if name not in names:
            hint = " (a CSV's columns are separated by commas)" if ";" in "".join(names) else ""
            raise KronaError(f"{path} has no column '{name}'{hint}: {did_you_mean(name, names)}")
        if (count := list(names).count(name)) > 1:
            raise KronaError(f"{path} has {count} columns named '{name}'")
