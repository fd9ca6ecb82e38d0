"""Readers of data files (TSV, CSV, JSONL, Parquet, folders of `save_to_disk`): a stream of rows with their lines.

A reader yields `(line, row)`, or `(line, BadRowError)`, because the caller may skip and count bad rows. Before a row
it may yield `(line, Oddity)`. A file that cannot be read at all raises KronaError.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Any

from krona.messages import KronaError, amount, did_you_mean
from krona.tasks.text import TextFile, require_file
from krona.tasks.values import BadRowError

Row = Mapping[str, Any]
KINDS = (".tsv", ".csv", ".jsonl", ".parquet")
SPLIT_FOLDERS = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}  # of a DatasetDict


class Oddity(Enum):
    """Suspicious input that is accepted and counted."""

    QUOTED = "a field in quotes with doubled quotes in it, in a TSV"
    SPANNING = "a field with a line end in it"
    EMPTY = "an empty text"


Located = tuple[int, Row | BadRowError | Oddity]
Record = tuple[int, int, list[str], Oddity | None]  # first and last line, fields, what is odd about them


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Columns to read.

    names: column → the names that a file may give it, the preferred one first.
    header: the columns of a file that has no line of names. headless: no file has one; else it is tried where the first
    line does not name the columns.
    to_predict: the rows are not a run's: blank lines are left out, and data.quoting does not exist.
    """

    names: Mapping[str, Sequence[str]]
    header: Sequence[str] | None = None
    headless: bool = False
    to_predict: bool = False

    def missing(self, found: Iterable[str]) -> list[str]:
        known = {*found}
        return [column for column, names in self.names.items() if known.isdisjoint(names)]

    def find(self, where: str, found: Sequence[str], *, hint: str = "") -> dict[str, str]:
        """Column → its name among ``found``. Raises KronaError for a missing or repeated column."""
        for column in self.missing(found):
            names = self.names[column]
            either = " or ".join(f"'{name}'" for name in names)
            commas = " (a CSV's columns are separated by commas)" if ";" in "".join(found) else ""
            raise KronaError(f"{where} has no column {either}{commas}: {did_you_mean(names[0], found)}{hint}")
        chosen = {column: next(name for name in names if name in found) for column, names in self.names.items()}
        for name in chosen.values():
            if (count := list(found).count(name)) > 1:
                raise KronaError(f"{where} has {count} columns named '{name}'")
        return chosen


def read_rows(path: Path, wanted: Wanted, *, quoting: str | None = None) -> Iterator[Located]:
    """The rows of a file, by its ending, or of a folder. quoting: `csv` where a TSV has the quotes of a CSV."""
    if path.is_dir():
        return _read_saved(path, wanted)
    kind = file_kind(path)
    if kind == ".parquet":
        return _read_parquet(path, wanted)
    return read_text(TextFile(path), kind, wanted, quoting=quoting)


def file_kind(path: Path) -> str:
    """The ending of a data file without .gz. Raises KronaError for any other file."""
    ending = "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:])
    kind = ending.lower().removesuffix(".gz")
    if kind not in KINDS or ending.lower() == ".parquet.gz":
        require_file(path)
        raise KronaError(
            f"{path}: a data file ends in {', '.join(KINDS)}, not in '{ending}'. The first three may be packed "
            "(.tsv.gz); a folder that save_to_disk of datasets wrote is read too"
        )
    return kind


def read_text(text: TextFile, kind: str | None, wanted: Wanted, *, quoting: str | None = None) -> Iterator[Located]:
    """The rows of a TSV, a CSV or a JSONL. Without a kind, the first line tells a JSONL from a TSV."""
    lines = text.lines()
    if kind is None:
        first = next(lines, "")
        kind, lines = ".jsonl" if first.lstrip().startswith("{") else ".tsv", chain([first], lines)
    if kind == ".jsonl":
        return _json_rows(lines, wanted)
    if kind == ".csv" or quoting == "csv":
        records = _quoted_records(text.name, lines, delimiter="," if kind == ".csv" else "\t")
        return _table_rows(text.name, records, wanted)
    hint = "" if wanted.to_predict else "; if a spreadsheet wrote its quotes: data.quoting=csv"
    return _table_rows(text.name, _plain_records(lines, blank=not wanted.to_predict), wanted, hint=hint)


def _table_rows(where: str, records: Iterator[Record], wanted: Wanted, *, hint: str = "") -> Iterator[Located]:
    """hint: what to say of a row of a wrong width with quotes in it."""
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
        what = f"{amount(len(fields), 'field')}, but the file has {amount(len(names), 'column')}"
        if last > line:
            what += f"; the row ends in line {last}: is a quote left open?"
        elif any(field[:1] == '"' or field[-1:] == '"' for field in fields):
            what += hint
        yield line, BadRowError(what, kind="wrong number of fields")


def _plain_records(lines: Iterator[str], *, blank: bool) -> Iterator[Record]:
    """A quote is a character like any other. Blank lines at the end are not rows, others only without ``blank``."""
    waiting = list[int]()
    for number, line in enumerate(lines, start=1):
        text = line.removesuffix("\n").removesuffix("\r")
        if not text.strip("\r"):
            waiting.append(number)
            continue
        if blank:
            yield from ((left, left, [""], None) for left in waiting)
        waiting.clear()
        fields = text.split("\t")
        odd = '""' in text and any(map(_is_quoted, fields))
        yield number, number, fields, Oddity.QUOTED if odd else None


def _is_quoted(field: str) -> bool:
    return field[:1] == '"' == field[-1:] and '""' in field[1:-1]


def _quoted_records(where: str, lines: Iterator[str], *, delimiter: str) -> Iterator[Record]:
    # a CR alone ends a line of a CSV
    split = (part for line in lines for part in (io.StringIO(line, newline="") if "\r" in line else (line,)))
    reader = csv.reader(split, delimiter=delimiter, strict=True)
    line = 0  # the last one that was read
    try:
        for fields in reader:
            first, line = line + 1, reader.line_num
            if fields:  # a blank line is not a row of a CSV
                yield first, line, fields, Oddity.SPANNING if line > first else None
    except csv.Error as error:
        raise _not_csv(f"{where}:{line + 1}", error) from error


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


def _json_rows(lines: Iterator[str], wanted: Wanted) -> Iterator[Located]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, _json_row(line.removesuffix("\n"), wanted)


def _json_row(text: str, wanted: Wanted) -> Row | BadRowError:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        return BadRowError(f"not a JSON object: {error}", kind="no JSON object")
    if not isinstance(found, dict):
        return BadRowError(f"a line must be a JSON object with {', '.join(wanted.names)}", kind="no JSON object")
    for name in wanted.missing(found):
        return BadRowError(f"no '{name}': {did_you_mean(name, found)}", kind="missing column")
    row = {column: next(found[name] for name in names if name in found) for column, names in wanted.names.items()}
    for name, value in row.items() if "\\u" in text else ():
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                half = f"\\u{ord(value[error.start]):04x}"
                what = f"the column '{name}' has half of a surrogate pair, {half}, which is not a character"
                return BadRowError(what, kind="half of a surrogate pair")
    return row


def _read_parquet(path: Path, wanted: Wanted) -> Iterator[Located]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    require_file(path)
    line = 0
    try:
        with pq.ParquetFile(path) as file:
            found = wanted.find(str(path), file.schema_arrow.names)
            for batch in file.iter_batches(columns=[*dict.fromkeys(found.values())]):
                for row in batch.to_pylist():
                    line += 1
                    yield line, {column: row[name] for column, name in found.items()}
    except (pa.ArrowException, OSError) as error:
        raise KronaError(f"{path} is not a Parquet file that can be read: {error}") from error


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


def _read_saved(path: Path, wanted: Wanted) -> Iterator[Located]:
    import datasets

    require_saved(path)
    try:
        data = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KronaError(f"{path} cannot be read as a saved data set: {error}") from error
    found = wanted.find(str(path), data.column_names)
    rows = data.select_columns([*dict.fromkeys(found.values())])
    yield from ((line, {column: row[name] for column, name in found.items()}) for line, row in enumerate(rows, start=1))
