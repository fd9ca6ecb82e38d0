"""What a reader must not pass over: a spreadsheet's quotes, rows over several lines, values that are no text."""

import datetime
import json
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from krona.messages import KronaError
from krona.tasks import data_fingerprint
from krona.tasks.files import Oddity
from tasks import glue_files
from tasks.own_task import MOODS, lines, load, mood, read, texts

QUOTED = '"He said ""no"", and left"\tsad'


def spreadsheet(file: Path, *more: str) -> Path:
    file.write_text("\n".join([*lines(12, sep="\t"), QUOTED, *more]) + "\n")
    return file


def test_a_spreadsheets_quotes_are_counted(tmp_path: Path) -> None:
    file = spreadsheet(tmp_path / "a.tsv", '"""Yes"""\tglad', '"a quotation"\tsad', 'the "" mark\tsad')
    got = read(file)
    assert 'text: "He said ""no"", and left"' in texts(got).values()
    found = got.train.part.oddities[Oddity.QUOTED]
    assert (found.rows, found.first) == (2, f"{file}:14")


def test_quoting_csv_reads_a_spreadsheets_tsv(tmp_path: Path) -> None:
    file = spreadsheet(tmp_path / "a.tsv", '"two\nlines"\tglad', '"a\ttab"\tglad')
    with pytest.raises(KronaError, match=r"a\.tsv:15: 1 field, but the file has 2 columns.*data\.quoting=csv"):
        read(file)
    got = read(file, quoting="csv")
    assert {'text: He said "no", and left', "text: two\nlines", "text: a\ttab"} < {*texts(got).values()}
    assert Oddity.QUOTED not in got.train.part.oddities
    assert got.train.part.oddities[Oddity.SPANNING].first == f"{file}:15"


def test_quoting_csv_holds_for_glues_files_too(tmp_path: Path) -> None:
    inner = glue_files.write(tmp_path, "cola")
    content = (inner / "train.tsv").read_text().replace('The cat no. 3 said "hello.', '"The cat no. 3 said ""hello."""')
    (inner / "train.tsv").write_text(content)
    (inner / "dev.tsv").write_text((inner / "dev.tsv").read_text().replace('"', ""))
    got = load(glue_files.task("cola"), kind="tsv", path=str(tmp_path), quoting="csv")
    assert 'sentence: The cat no. 3 said "hello."' in got.train.sources
    assert len(got.train) == 12


def test_a_row_that_swallows_the_next_ones_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("\n".join([*lines(12), '"one,sad', "two,glad", 'three",calm', '"a\nb",sad']) + "\n")
    got = read(file)
    assert "text: one,sad\ntwo,glad\nthree" in texts(got).values()
    found = got.train.part.oddities[Oddity.SPANNING]
    assert (found.rows, found.first) == (2, f"{file}:14")
    file.write_text("\n".join([*lines(12), "", '"one,sad', 'two,glad",x,calm']))
    with pytest.raises(KronaError, match=r"a\.csv:15: 3 fields, but the file has 2 columns; the row ends in line 16"):
        read(file)


def test_a_quote_that_is_never_closed_names_the_line_that_opens_it(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("\n".join([*lines(12), '"open,sad', *lines(30)[1:]]))
    with pytest.raises(KronaError, match=r"a\.csv:14: not a CSV row"):
        read(file)
    file.write_text("\n".join([*lines(12), '"open,sad', *lines(20_000)[1:]]))
    with pytest.raises(KronaError, match=r"a\.csv:14: a field of more than 131,072 characters.*never closed.*\.jsonl"):
        read(file)


@pytest.mark.parametrize(
    ("value", "words"),
    [({"a": 1}, "an object"), ([1, 2], "a list"), (math.nan, "NaN"), (math.inf, "inf"), (b"abc", "bytes")],
)
def test_what_is_no_text_is_an_error_with_its_line(value: Any, words: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [value], "label": ["sad"]}), tmp_path / "a.parquet")
    with pytest.raises(KronaError, match=rf"a\.parquet:1: the column 'text' holds {words}, not text"):
        read(tmp_path / "a.parquet")
    if isinstance(value, bytes):
        return  # JSON has none
    rows = [json.dumps({"text": text, "label": "sad"}) for text in ("x", value)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    with pytest.raises(KronaError, match=rf"a\.jsonl:2: the column 'text' holds {words}, not text"):
        read(tmp_path / "a.jsonl")


def test_numbers_and_dates_are_text(tmp_path: Path) -> None:
    for value, text in ((7, "7"), (2.5, "2.5"), (datetime.date(2020, 1, 2), "2020-01-02"), (Decimal("1.50"), "1.50")):
        pq.write_table(pa.table({"text": [value] * 12, "label": ["sad"] * 12}), tmp_path / "a.parquet")
        assert {*texts(read(tmp_path / "a.parquet")).values()} == {f"text: {text}"}


@pytest.mark.parametrize("bad", ['"\\ud800"', '"a \\uDFFF b"'])
def test_half_a_surrogate_pair_is_an_error_with_its_line(bad: str, tmp_path: Path) -> None:
    rows = [f'{{"text": "day {i} \\ud83d\\ude00", "label": "sad", "more": "\\ud800"}}' for i in range(12)]
    (tmp_path / "a.jsonl").write_text("\n".join([*rows, f'{{"text": {bad}, "label": "sad"}}']))
    with pytest.raises(KronaError, match=r"a\.jsonl:13: the column 'text' has half of a surrogate pair.*skip_bad_rows"):
        read(tmp_path / "a.jsonl")
    got = read(tmp_path / "a.jsonl", skip_bad_rows=True)
    assert got.train.skipped_rows == 1
    assert "text: day 3 😀" in texts(got).values()
    for row in (f'{{"text": "x", "label": {bad}}}', f'{{"te{bad[1:-1]}": 1}}'):
        (tmp_path / "a.jsonl").write_text(row)
        with pytest.raises(KronaError, match=r"a\.jsonl:1: ") as caught:
            read(tmp_path / "a.jsonl")
        str(caught.value).encode()  # it can be printed


def test_json_too_deep_is_an_error_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ' + "[" * 200_000)
    with pytest.raises(KronaError, match=r"a\.jsonl:1: not a JSON object") as caught:
        read(tmp_path / "a.jsonl")
    assert len(str(caught.value)) < 500


def test_no_message_repeats_a_file(tmp_path: Path) -> None:
    long = "word " * 20_000
    for name, content in (
        ("a.tsv", long.replace(" ", "\t") + "\nx\n"),
        ("a.tsv", f"text\tlabel\nx\t{long}\n"),
        ("a.csv", f'text,label\nx,"{long}"\n'),
        ("a.jsonl", json.dumps({long: 1})),
        ("a.jsonl", json.dumps({"text": [long], "label": "sad"})),
        ("a.jsonl", json.dumps({"text": "x", "label": {"a": long}})),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(KronaError) as caught:
            read(tmp_path / name)
        assert len(str(caught.value)) < 1500


def saved(folder: Path, rows: int, *, start: int = 0) -> datasets.Dataset:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=MOODS), "extra": datasets.Value("int32")}
    )
    values = {"text": [f"day {i}" for i in range(start, start + rows)], "label": [i % 3 for i in range(rows)]}
    data = datasets.Dataset.from_dict(values | {"extra": list(range(rows))}, features=features)
    if folder.name != "none":
        data.save_to_disk(str(folder))
    return data


def test_a_folder_of_save_to_disk_is_a_data_file(tmp_path: Path) -> None:
    saved(tmp_path / "days", 20)
    (tmp_path / "days.csv").write_text("\n".join(lines(20)))
    assert read(tmp_path / "days") == read(tmp_path / "days.csv")
    saved(tmp_path / "late", 7, start=50)
    got = read(tmp_path / "days", task={"files": {"train": "days", "test": "late"}})
    assert (len(got.train), len(got.dev), len(got.test)) == (18, 2, 7)
    with pytest.raises(KronaError, match=r"days has no column 'texts': did you mean 'text'\?"):
        read(tmp_path / "days", task={"columns": ["texts"]})


def test_a_dataset_dict_gives_train_dev_and_test(tmp_path: Path) -> None:
    none = tmp_path / "none"
    parts = {"train": saved(none, 9), "validation": saved(none, 6, start=20), "test": saved(none, 3, start=40)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "all"))
    got = read(tmp_path / "all")
    assert (len(got.train), len(got.dev), len(got.test)) == (9, 6, 3)
    assert got.test.ids == ["test-0", "test-1", "test-2"]
    with pytest.raises(KronaError, match=r"all holds several splits \(test, train, validation\): name one of them"):
        read(tmp_path / "all", task={"files": {"train": "all", "dev": "all/validation"}})


def test_the_fingerprint_is_of_a_folders_rows(tmp_path: Path) -> None:
    def mark() -> str:
        return data_fingerprint(mood("days"), kind="hub", path=str(tmp_path))

    saved(tmp_path / "days", 20)
    before = mark()
    assert re.fullmatch(r"own:[0-9a-f]{16}", before)
    saved(tmp_path / "other" / "days", 20)
    assert data_fingerprint(mood("days"), kind="hub", path=str(tmp_path / "other")) == before
    saved(tmp_path / "days", 20, start=1)
    assert mark() != before


def test_other_folders_are_one_message(tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    with pytest.raises(KronaError, match=r"days is a folder, but not one that save_to_disk of datasets wrote"):
        read(tmp_path / "days")
    saved(tmp_path / "late", 5)
    (tmp_path / "late" / "data-00000-of-00001.arrow").write_bytes(b"nonsense")
    with pytest.raises(KronaError, match=r"late cannot be read as a saved data set: "):
        read(tmp_path / "late")
    with pytest.raises(KronaError, match=r"nothing: no such file"):
        read(tmp_path / "nothing")
