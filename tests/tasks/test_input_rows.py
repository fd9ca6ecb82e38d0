"""Rows of an input in every form that a user has them in; what is no row is one message with its place."""

import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from krona.messages import KronaError
from krona.tasks import InputRows
from krona.tasks.sample import write
from tasks import glue_files

PAIRS = [("It rains.", 'A "wet" day'), ("Grüße, 猫", "tab-free")]
RTE = glue_files.task("rte")


def tsv(rows: list[tuple[str, ...]], *names: str, end: str = "\n") -> bytes:
    return end.join("\t".join(row) for row in [names, *rows]).encode() + end.encode()


def texts(source: Path | str, task: Any = RTE) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in task.columns) for _, row in InputRows(str(source), task)]


NAMED = tsv(PAIRS, "sentence1", "sentence2")
CSV = 'sentence1,sentence2\nIt rains.,"A ""wet"" day"\n"Grüße, 猫",tab-free\n'.encode()
JSONL = "".join(json.dumps({"sentence2": b, "more": 1, "sentence1": a}) + "\n" for a, b in PAIRS).encode()
FORMS = {
    "plain.tsv": NAMED,
    "other_order.tsv": tsv([(b, "x", a) for a, b in PAIRS], "sentence2", "more", "sentence1"),
    "crlf.tsv": NAMED.replace(b"\n", b"\r\n"),
    "bom.tsv": b"\xef\xbb\xbf" + NAMED,
    "no_end.tsv": NAMED.rstrip(b"\n"),
    "blank.tsv": NAMED.replace(b"\n", b"\n\n") + b"\n\n",
    "UPPER.TSV": NAMED,
    "plain.csv": CSV,
    "crlf.csv": CSV.replace(b"\n", b"\r\n"),
    "bom.csv": b"\xef\xbb\xbf" + CSV,
    "blank.csv": CSV.replace(b"\n", b"\n\n"),
    "plain.jsonl": JSONL,
    "blank.jsonl": b"\xef\xbb\xbf" + JSONL.replace(b"\n", b"\r\n\r\n"),
    "packed.tsv.gz": gzip.compress(NAMED),
    "packed.csv.gz": gzip.compress(CSV),
    "packed.jsonl.gz": gzip.compress(JSONL),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FORMS[name])
    assert texts(tmp_path / name) == PAIRS
    rows = InputRows(str(tmp_path / name), RTE)
    assert rows.bytes_read == 0
    assert len(list(rows)) == 2
    assert rows.bytes_read == rows.size == len(FORMS[name])  # a progress bar asks when all is read, too


def test_parquet(tmp_path: Path) -> None:
    columns = dict(zip(RTE.columns, map(list, zip(*PAIRS, strict=True)), strict=True))
    pq.write_table(pa.table({**columns, "more": [1, 2]}), tmp_path / "rows.parquet")
    assert texts(tmp_path / "rows.parquet") == PAIRS


@pytest.mark.parametrize("name", ["plain.tsv", "crlf.tsv", "bom.tsv", "plain.jsonl", "blank.jsonl"])
def test_standard_input(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(FORMS[name])))
    assert texts("-") == PAIRS


def test_a_field_over_two_lines_of_a_csv_and_places(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('sentence1,sentence2\n"one\ntwo",b\nc,d\n')
    places, rows = zip(*InputRows(str(path), RTE), strict=True)
    assert [row["sentence1"] for row in rows] == ["one\ntwo", "c"]
    assert places[1] == f"{path}:4"


@pytest.mark.parametrize("name", glue_files.NAMES)
def test_glues_own_files(name: str, tmp_path: Path) -> None:
    task, folder = glue_files.task(name), glue_files.write(tmp_path, name, train=3)
    rows = texts(folder / "train.tsv", task)
    assert len(rows) == 3
    assert all("The cat no. " in row[0] and 'said "hello.' in row[0] for row in rows)
    assert len(rows[0]) == len(task.columns)


def test_colas_official_test_set_has_names_and_its_others_have_none(tmp_path: Path) -> None:
    cola = glue_files.task("cola")
    (tmp_path / "test.tsv").write_text("index\tsentence\n0\tBill sleeps.\n")
    assert texts(tmp_path / "test.tsv", cola) == [("Bill sleeps.",)]
    assert len(texts(next(path for path in write(tmp_path / "s") if path.match("CoLA/dev.tsv")), cola)) == 200


BAD: dict[str, tuple[bytes, str]] = {
    "no_column.tsv": (tsv(PAIRS, "sentence1", "sentence_2"), "has no column 'sentence2': did you mean 'sentence_2'"),
    "no_names.tsv": (b"It rains.\tIt is wet.\n", "has no column 'sentence1'.*The first line names the columns"),
    "fields.tsv": (NAMED + b"one\n", r"fields.tsv:4: 1 field, but the file has 2 columns"),
    "many.tsv": (NAMED + b"a\tb\tc\n", r"many.tsv:4: 3 fields"),
    "fields.csv": (CSV + b"one\n", r"fields.csv:4: 1 field"),
    "open.csv": (CSV + b'"one,b\n', r"open.csv:4: not a CSV row"),
    "no_object.jsonl": (JSONL + b"[1]\n", r"no_object.jsonl:3: a line must be a JSON object"),
    "no_json.jsonl": (JSONL + b"{one}\n", r"no_json.jsonl:3: not a JSON object"),
    "no_key.jsonl": (b'{"sentence1": "a"}\n', r"no_key.jsonl:1: no 'sentence2'"),
    "empty.tsv": (b"", "is empty"),
    "bom_alone.csv": (b"\xef\xbb\xbf", "is empty"),
    "empty.jsonl": (b"", "is empty"),
    "latin.tsv": (NAMED + "Grüße\tb\n".encode("latin-1"), r"latin.tsv:4: not UTF-8: byte 0xfc"),
    "utf16.tsv": (NAMED.decode().encode("utf-16"), "not UTF-8: byte 0xff"),
    "half.tsv.gz": (gzip.compress(NAMED * 100)[:-20], "is not a whole gzip file"),
    "no_gzip.tsv.gz": (NAMED, "is not a whole gzip file"),
    "garbled.tsv.gz": (gzip.compress(NAMED)[:10] + b"\x07" * 40, "is not a whole gzip file"),
    "rows.txt": (NAMED, "a data file ends in .tsv"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_row(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KronaError, match=message):
        list(InputRows(str(tmp_path / name), RTE))


def test_no_such_file() -> None:
    with pytest.raises(KronaError, match=r"nowhere.tsv: no such file"):
        InputRows("nowhere.tsv", RTE)


def test_standard_input_with_nothing_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    with pytest.raises(KronaError, match="standard input is empty"):
        list(InputRows("-", RTE))
