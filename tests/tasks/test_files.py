"""Test data files: every format is read, for runs and for predictions, and every damaged file gives one message."""

import datetime
import gzip
import io
import json
import math
import os
import re
import tracemalloc
import zipfile
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from krona.messages import KronaError
from krona.tasks import InputRows, notes
from krona.tasks.data_sources import sample_files
from tasks import glue_files
from tasks.own_task import MOODS, lines, mood, read, texts

PAIRS = [("It rains.", 'A "wet" day'), ("Grüße, 猫", "tab-free")]
RTE = glue_files.task("rte")
MARK = b"\xef\xbb\xbf"
NAMED = "\n".join("\t".join(row) for row in [("sentence1", "sentence2"), *PAIRS]).encode() + b"\n"
ORDERED = "\n".join(["sentence2\tmore\tsentence1", *(f"{b}\tx\t{a}" for a, b in PAIRS)]).encode()
CSV = 'sentence1,sentence2\nIt rains.,"A ""wet"" day"\n"Grüße, 猫",tab-free\n'.encode()
JSONL = "".join(json.dumps({"sentence2": b, "more": 1, "sentence1": a}) + "\n" for a, b in PAIRS).encode()
FORMATS = {
    "plain.tsv": NAMED,
    "other_order.tsv": ORDERED,
    "crlf.tsv": NAMED.replace(b"\n", b"\r\n"),
    "bom.tsv": MARK + NAMED,
    "blank.tsv": NAMED.replace(b"\n", b"\n\n") + b"\n\n",
    "plain.csv": CSV,
    "crlf.csv": CSV.replace(b"\n", b"\r\n"),
    "plain.jsonl": JSONL,
    "blank.jsonl": MARK + JSONL.replace(b"\n", b"\r\n\r\n"),
    "packed.tsv.gz": gzip.compress(NAMED),
}


def input_texts(source: Path | str, task: Any = RTE) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in task.columns) for _, row in InputRows(str(source), task)]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FORMATS[name])
    assert input_texts(tmp_path / name) == PAIRS


@pytest.mark.parametrize("name", ["plain.tsv", "crlf.tsv", "bom.tsv", "plain.jsonl", "blank.jsonl"])
def test_standard_input(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(FORMATS[name])))
    assert input_texts("-") == PAIRS
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    with pytest.raises(KronaError, match="standard input is empty"):
        input_texts("-")


def test_colas_test_set_has_a_header_and_its_other_files_have_none(tmp_path: Path) -> None:
    cola = glue_files.task("cola")
    (tmp_path / "test.tsv").write_text("index\tsentence\n0\tBill sleeps.\n")
    assert input_texts(tmp_path / "test.tsv", cola) == [("Bill sleeps.",)]
    assert len(input_texts(sample_files("cola")["dev"], cola)) == 200


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("xl/workbook.xml", content)
    return buffer.getvalue()


def parquet_bytes(column: str = "text") -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({column: ["x"], "label": ["sad"]}), buffer)
    return buffer.getvalue()


LABELLED = b"text,label\nx,sad\n"
BAD: dict[str, tuple[bytes, str]] = {
    "column.tsv": (b"text\tlable\nx\tsad\n", "has no column 'label': did you mean 'lable'?"),
    "semicolons.csv": (b"text;label\nx;sad\n", "has no column 'text' (in a CSV, commas separate the columns)"),
    "no_names.tsv": (b"It rains.\tsad\n", "The first line names the columns"),
    "few.tsv": (b"text\tlabel\nx\tsad\none\n", "few.tsv:3: the row has 1 field, but the file has 2 columns"),
    "many.csv": (LABELLED + b"x,y,sad\n", "many.csv:3: the row has 3 fields, but the file has 2 columns"),
    "open.csv": (LABELLED + b'"x,sad\nx,sad\n', "open.csv:3: the row is not valid CSV"),
    "label.csv": (b"text,label\nx,sat\n", "label.csv:2: label 'sat' is not one of sad (0), calm (1)"),
    "small.csv": (LABELLED, "no rows are left for"),
    "no_rows.csv": (b"text,label\n", "no_rows.csv has no rows."),
    "empty.csv": (b"", "is empty."),
    "no_json.jsonl": (
        b'{"text": "x", "label": "sad"}\n{"text"\n',
        "no_json.jsonl:2: the line is not a JSON object: Expecting ':' delimiter (column 8)",
    ),
    "key.jsonl": (b'{"txt": "x", "label": "sad"}\n', "key.jsonl:1: the key 'text' is missing: did you mean 'txt'?"),
    "null.jsonl": (b'{"text": null, "label": "sad"}\n', "null.jsonl:1: the row has no text: 'text' is empty"),
    "a.parquet": (b"PAR1 or not", "is not a readable Parquet file"),
    "column.parquet": (parquet_bytes("texts"), "has no column 'text': did you mean 'texts'?"),
    "latin.tsv": (b"text\tlabel\nGr\xfc\xdfe\tsad\n", "latin.tsv:2: not UTF-8: byte 0xfc"),
    "utf16.csv": (
        LABELLED.decode().encode("utf-16"),
        "utf16.csv is UTF-16, not UTF-8. Convert it, for example: iconv -f UTF-16 -t UTF-8",
    ),
    "workbook.tsv": (
        zipped(b"<xml/>"),
        "workbook.tsv is an Excel workbook or a zip archive. Save the sheet as CSV UTF-8",
    ),
    "packed.tsv": (gzip.compress(LABELLED), "packed.tsv is compressed with gzip. Add .gz to its name."),
    "parquet.tsv": (parquet_bytes(), "parquet.tsv is a Parquet file. Change the end of its name to .parquet."),
    "half.csv.gz": (
        gzip.compress("\n".join(lines(99)).encode())[:-20],
        "half.csv.gz cannot be read: Compressed file ended",
    ),
    "a.xls": (b"x", "ends in '.xls', but a data file must end in .tsv, .csv, .jsonl, .parquet."),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_message(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KronaError, match=re.escape(message)) as caught:
        read(tmp_path / name)
    assert len(str(caught.value)) < 500
    if not any(word in message for word in ("label", "no rows", "no text")):  # the prediction fails too
        with pytest.raises(KronaError, match=re.escape(message)):
            list(InputRows(str(tmp_path / name), mood(name)))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match=r"nowhere.tsv: no such file in /"):
        InputRows("nowhere.tsv", RTE)
    with pytest.raises(KronaError, match=r"nothing: no such file"):
        read(tmp_path / "nothing")


QUOTED = '"He said ""no"", and left"\tsad'


def spreadsheet(file: Path, *more: str) -> Path:
    file.write_text("\n".join([*lines(12, sep="\t"), QUOTED, *more]) + "\n")
    return file


def test_a_spreadsheets_quotes_are_counted(tmp_path: Path) -> None:
    file = spreadsheet(tmp_path / "a.tsv", '"""Yes"""\tglad', '"a quotation"\tsad', 'the "" mark\tsad', '""\tsad')
    got = read(file)
    assert 'text: "He said ""no"", and left"' in texts(got).values()
    assert got.train.official.suspicious == {"spreadsheet quotes": [14, 15]}
    (note,) = [note for note in notes(mood("a.tsv"), got) if "data.quoting=csv" in note]
    assert "in 2 of 17 rows of train (first a.tsv:14)" in note


def test_quoting_csv_reads_a_spreadsheets_tsv(tmp_path: Path) -> None:
    file = spreadsheet(tmp_path / "a.tsv", '"two\nlines"\tglad', '"a\ttab"\tglad')
    with pytest.raises(KronaError, match=r"a\.tsv:15: the row has 1 field, .*data\.quoting=csv"):
        read(file)
    got = read(file, quoting="csv")
    assert {'text: He said "no", and left', "text: two\nlines", "text: a\ttab"} < {*texts(got).values()}


def test_a_quote_can_span_rows_and_an_open_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("\n".join([*lines(12), '"one,sad', "two,glad", 'three",calm', '"a\nb",sad']) + "\n")
    got = read(file)
    assert "text: one,sad\ntwo,glad\nthree" in texts(got).values()
    file.write_text("\n".join([*lines(12), "", '"one,sad', 'two,glad",x,calm']))
    with pytest.raises(KronaError, match=r"a\.csv:15: the row has 3 fields"):
        read(file)
    file.write_text("\n".join([*lines(12), '"open,sad', *lines(20_000)[1:]]))
    with pytest.raises(
        KronaError, match=r"a\.csv:14: the row is not valid CSV: field larger .* A closing quote may be"
    ):
        read(file)


@pytest.mark.parametrize(
    ("value", "words"),
    [({"a": 1}, "{'a': 1}"), ([1, 2], "[1, 2]"), (math.nan, "nan"), (math.inf, "inf"), (b"abc", "b'abc'")],
)
def test_a_value_that_is_not_text_is_an_error_with_its_line(value: Any, words: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [value], "label": ["sad"]}), tmp_path / "a.parquet")
    with pytest.raises(KronaError, match=re.escape(f"a.parquet:1: the column 'text' contains {words}, not text")):
        read(tmp_path / "a.parquet")
    if not isinstance(value, bytes):  # JSON does not support bytes
        rows = [json.dumps({"text": text, "label": "sad"}) for text in ("x", value)]
        (tmp_path / "a.jsonl").write_text("\n".join(rows))
        with pytest.raises(KronaError, match=re.escape(f"a.jsonl:2: the column 'text' contains {words}, not text")):
            read(tmp_path / "a.jsonl")


def test_numbers_and_dates_are_text(tmp_path: Path) -> None:
    for value, text in ((7, "7"), (2.5, "2.5"), (datetime.date(2020, 1, 2), "2020-01-02"), (Decimal("1.50"), "1.50")):
        pq.write_table(pa.table({"text": [value] * 12, "label": ["sad"] * 12}), tmp_path / "a.parquet")
        got = read(tmp_path / "a.parquet", task={"files": dict.fromkeys(("train", "dev", "test"), "a.parquet")})
        assert {*texts(got).values()} == {f"text: {text}"}


def test_a_pipe_is_not_a_data_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.tsv")
    message = re.escape(f"{tmp_path / 'fifo.tsv'} is not a regular file")
    with pytest.raises(KronaError, match=message):
        read(tmp_path / "fifo.tsv")
    with pytest.raises(KronaError, match=message):
        InputRows(str(tmp_path / "fifo.tsv"), mood("fifo.tsv"))


def test_other_line_ends_within_a_line_stay_text(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("\n".join([*lines(12, sep="\t"), "one\rtwo\u2028three\x0c\tsad"]).encode())
    assert "text: one\rtwo\u2028three\x0c" in texts(read(tmp_path / "a.tsv")).values()


def test_the_texts_of_a_file_are_stored_once(tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    file.write_text("\n".join(["text,label", *(f"{i} {'x' * 4000},{MOODS[i % 3]}" for i in range(1000))]) + "\n")
    tracemalloc.start()
    try:
        got = read(file)
        stored = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert got.train.sources[0].startswith("text: ")
    assert stored < 1.3 * file.stat().st_size  # with the source texts: twice the file
    both = got.dev.join(got.test)
    assert [*both.sources] == [f"text: {text}" for (text,) in both.texts]
