"""Read data files (TSV, CSV, JSONL, Parquet, folders of ``save_to_disk``) as a stream of rows with line numbers.

A reader yields ``(line, row)`` for a good row and ``(line, BadRowError)`` for a bad row, which the caller may skip and
count. Before a suspicious row, it yields ``(line, Oddity)``. It raises `KronaError` if the file cannot be read at all.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Any

from krona.messages import KronaError, amount, did_you_mean
from krona.tasks.json_rows import parse_json_row
from krona.tasks.text_lines import MAX_LINE, MAX_UNPACKED, TextFile, check_unpacked, read_limit, require_file
from krona.tasks.values import BadRowError

Row = Mapping[str, Any]
KINDS = (".tsv", ".csv", ".jsonl", ".parquet")
BATCH = 64  # rows of a Parquet file that are in memory


class Oddity(Enum):
    """A kind of suspicious input. Rows with such input are used and counted."""

    QUOTED = "a quoted field with doubled quotes inside, in a TSV"
    SPANNING = "a field with a line end inside"
    EMPTY = "an empty text"


Located = tuple[int, Row | BadRowError | Oddity]
Record = tuple[int, int, list[str], Oddity | None]  # first line, last line, fields


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The columns to read from a file."""

    names: Mapping[str, Sequence[str]]  # each column's possible names in a file, the preferred name first
    header: Sequence[str] | None = None  # the column names of a file without a header line
    headless: bool = False  # use ``header`` even if the first line contains the column names
    to_predict: bool = False  # the rows are the input of ``krona predict``

    def missing(self, found: Iterable[str]) -> list[str]:
        known = {*found}
        return [column for column, names in self.names.items() if known.isdisjoint(names)]

    def find(self, where: str, found: Sequence[str], *, hint: str = "") -> dict[str, str]:
        """Return a dict from each column to its name in a file. Raise `KronaError` for a missing or repeated column."""
        for column in self.missing(found):
            either = " or ".join(f"'{name}'" for name in self.names[column])
            commas = " (in a CSV, commas separate the columns)" if ";" in "".join(found) else ""
            near = did_you_mean(self.names[column][0], found)
            raise KronaError(f"{where} has no column {either}{commas}: {near}{hint}")
        chosen = {column: next(name for name in names if name in found) for column, names in self.names.items()}
        if twice := [name for name in chosen.values() if list(found).count(name) > 1]:
            raise KronaError(f"{where} has {list(found).count(twice[0])} columns named '{twice[0]}'.")
        return chosen


def read_rows(path: Path, wanted: Wanted, *, quoting: str | None = None) -> Iterator[Located]:
    """Yield the rows of a data file, or of a folder that ``save_to_disk`` wrote. For ``quoting``, see `read_text`."""
    if path.is_dir():
        return _read_saved(path, wanted)
    kind = file_kind(path)
    if kind == ".parquet":
        return _read_parquet(path, wanted)
    return read_text(TextFile(path), kind, wanted, quoting=quoting)


def file_kind(path: Path) -> str:
    """Return the suffix of a data file without ``.gz``. Raise `KronaError` if the format is not supported."""
    suffix = "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:])
    kind = suffix.lower().removesuffix(".gz")
    if kind not in KINDS or suffix.lower() == ".parquet.gz":
        require_file(path)
        raise KronaError(
            f"{path} ends in '{suffix}', but a data file must end in {', '.join(KINDS)}. The first three may be "
            "compressed (.tsv.gz). A folder that save_to_disk of datasets wrote is accepted too."
        )
    return kind


def read_text(text: TextFile, kind: str | None, wanted: Wanted, *, quoting: str | None = None) -> Iterator[Located]:
    """Yield the rows of a TSV, CSV or JSONL file.

    Args:
        kind: ``.tsv``, ``.csv`` or ``.jsonl``; None: JSONL if the first line starts with ``{``, otherwise TSV.
        quoting: ``csv`` if the fields of a TSV are quoted as in a CSV; otherwise None.
    """
    try:
        yield from _read_lines(text, kind, wanted, quoting=quoting)
    finally:  # also after an error, whose traceback would keep the file open
        text.close()


def _read_lines(text: TextFile, kind: str | None, wanted: Wanted, *, quoting: str | None) -> Iterator[Located]:
    lines = text.lines()
    if kind is None:
        first = next(lines, "")
        kind, lines = ".jsonl" if first.lstrip().startswith("{") else ".tsv", chain([first], lines)
    if kind == ".jsonl":
        numbered = enumerate(lines, start=1)
        return (
            (number, parse_json_row(line.removesuffix("\n"), wanted.names)) for number, line in numbered if line.strip()
        )
    if kind == ".csv" or quoting == "csv":
        records = _split_quoted(text.name, lines, delimiter="," if kind == ".csv" else "\t")
        return _select_columns(text.name, records, wanted)
    hint = "" if wanted.to_predict else ". If a spreadsheet wrote the quotes, set data.quoting=csv"
    return _select_columns(text.name, _split_plain(lines), wanted, hint=hint)


def _select_columns(where: str, records: Iterator[Record], wanted: Wanted, *, hint: str = "") -> Iterator[Located]:
    """Yield the wanted columns of a table. ``hint`` is added to errors about rows with quotes and too many fields."""
    first = next(records, (1, 1, [], None))
    names: Sequence[str] = first[2]
    header = wanted.header
    if header is not None and (wanted.headless or (len(names) == len(header) and wanted.missing(names))):
        names, records = header, chain([first], records)
    found = wanted.find(where, names, hint=". The first line names the columns")
    places = {column: names.index(name) for column, name in found.items()}
    for line, last, fields, oddity in records:
        if oddity is not None:
            yield line, oddity
        if len(fields) == len(names):
            yield line, {column: fields[place] for column, place in places.items()}
            continue
        problem = f"the row has {amount(len(fields), 'field')}, but the file has {amount(len(names), 'column')}"
        if last > line:
            problem += f". The row ends in line {last}, so a closing quote may be missing"
        elif any(field[:1] == '"' or field[-1:] == '"' for field in fields):
            problem += hint
        yield line, BadRowError(problem, kind="wrong number of fields")


def _split_plain(lines: Iterator[str]) -> Iterator[Record]:
    """Split lines at tabs, and skip blank lines."""
    for number, line in enumerate(lines, start=1):
        text = line.removesuffix("\n").removesuffix("\r")
        if not text.strip("\r"):
            continue
        fields = text.split("\t")
        odd = '""' in text and any(field[:1] == '"' == field[-1:] and '""' in field[1:-1] for field in fields)
        yield number, number, fields, Oddity.QUOTED if odd else None


def _split_quoted(where: str, lines: Iterator[str], *, delimiter: str) -> Iterator[Record]:
    # a CR alone ends a line of a CSV
    split = (part for line in lines for part in (io.StringIO(line, newline="") if "\r" in line else (line,)))
    reader = csv.reader(split, delimiter=delimiter, strict=True)
    line = 0  # number of lines read so far
    try:
        for fields in reader:
            first, line = line + 1, reader.line_num
            if fields:  # a blank line is not a row of a CSV
                yield first, line, fields, Oddity.SPANNING if line > first else None
    except csv.Error as error:
        if "field limit" in str(error):
            raise KronaError(
                f"{where}:{line + 1}: a field has more than {csv.field_size_limit():,} characters. Usually its closing "
                "quote is missing. Correct the row, or use a .jsonl file for texts of this length."
            ) from error
        raise KronaError(
            f"{where}:{line + 1}: the row is not valid CSV: {error}. Put a field that contains a quote, a comma or a "
            'line end in quotes, and double the quotes in it: "say ""yes""".'
        ) from error


def _read_parquet(path: Path, wanted: Wanted) -> Iterator[Located]:
    from pyarrow import ArrowException, parquet

    require_file(path)
    line, size, most, longest = 0, 0, read_limit(*MAX_UNPACKED), read_limit(*MAX_LINE)
    try:
        with parquet.ParquetFile(path) as file:
            found = wanted.find(str(path), file.schema_arrow.names)
            for number in range(file.num_row_groups):  # Arrow unpacks a whole row group, with its dictionary
                group = file.metadata.row_group(number)
                check_unpacked(f"Row group {number} of {path}", group.total_byte_size, most // 4)
            for batch in file.iter_batches(BATCH, columns=[*dict.fromkeys(found.values())]):
                batch.validate(full=True)
                for row in batch.to_pylist():
                    line += 1
                    size += sum(len(value) for value in row.values() if isinstance(value, str))
                    check_unpacked(str(path), size, most)
                    yield line, _select(row, found, f"{path}:{line}", longest)
    except (ArrowException, OSError, ValueError, OverflowError) as error:
        raise KronaError(f"{path} is not a readable Parquet file: {error}") from error


def _read_saved(path: Path, wanted: Wanted) -> Iterator[Located]:
    import datasets

    require_saved(path)
    try:
        data = datasets.load_from_disk(str(path))
        data.data.validate(full=True)  # otherwise a damaged file, which is mapped into memory, can end the process
    except Exception as error:  # the libraries raise many types of errors
        raise KronaError(f"{path} is not a readable saved data set: {error}") from error
    found, longest = wanted.find(str(path), data.column_names), read_limit(*MAX_LINE)
    for line, row in enumerate(data.select_columns([*dict.fromkeys(found.values())]), start=1):
        yield line, _select(row, found, f"{path}:{line}", longest)


def _select(row: Row, found: Mapping[str, str], where: str, longest: int) -> Row:
    """Return the wanted columns of a row. Raises KronaError if a text is longer than a line of a text file may be."""
    for name in found.values():
        if isinstance(row[name], str) and len(row[name]) > longest:
            raise KronaError(f"{where} has a text of over {longest:,} characters. Shorten it, or set {MAX_LINE[0]}=N.")
    return {column: row[name] for column, name in found.items()}


def require_saved(path: Path) -> None:
    """Raise `KronaError` unless `Dataset.save_to_disk` wrote the folder."""
    if (path / "dataset_dict.json").is_file():
        splits = ", ".join(sorted(entry.name for entry in path.iterdir() if entry.is_dir()))
        raise KronaError(f"{path} contains several splits ({splits}). Name one of them: FOLDER/SPLIT.")
    if not (path / "state.json").is_file():
        raise KronaError(f"{path} is a folder, but save_to_disk of datasets did not write it (it has no state.json).")
