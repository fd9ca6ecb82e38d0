"""A user's own task: one YAML, a file of one of four kinds, no dev file needed."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from krona.messages import KronaError
from krona.tasks import Splits, Task
from tasks.own_task import load

MOODS = ["furious", "sad", "calm", "glad", "überglücklich"]


def own(files: dict[str, str] | str, **changes: Any) -> Task:
    values = {"name": "mood", "columns": ["text"], "labels": MOODS, "metrics": ["accuracy"], "files": files}
    return Task.from_config(values | changes)


def rows(count: int) -> list[dict[str, Any]]:
    return [{"text": f'Él said "no", row {i}\nand left', "label": MOODS[i % 5]} for i in range(count)]


def write_csv(file: Path, values: list[dict[str, Any]]) -> None:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(values[0]))
        writer.writeheader()
        writer.writerows(values)


def ids(splits: Splits) -> list[str]:
    return splits.train.ids + splits.dev.ids + splits.test.ids


def test_a_csv_of_five_classes_without_a_dev_file(tmp_path: Path) -> None:
    write_csv(tmp_path / "mood.csv", rows(100))
    got = load(own("mood.csv"), kind="hub", path=str(tmp_path))
    assert got.kind == "own"
    assert (len(got.train), len(got.dev), len(got.test)) == (80, 10, 10)
    assert sorted(ids(got)) == sorted(f"train-{i}" for i in range(100))
    place = got.train.ids.index(next(row for row in got.train.ids if int(row[6:]) % 5 == 4))
    number = got.train.ids[place][6:]
    assert got.train.sources[place] == f'text: Él said "no", row {number}\nand left'
    assert got.train.targets[place] == "4"
    assert load(own("mood.csv"), kind="tsv", path=str(tmp_path)) == got
    assert load(own("mood.csv"), kind="hub", path=str(tmp_path), seed=1).dev.ids != got.dev.ids


def test_relative_files_start_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(tmp_path / "mood.csv", rows(20))
    monkeypatch.chdir(tmp_path)
    assert len(load(own("mood.csv"), kind="hub").train) == 16
    monkeypatch.chdir("/")
    with pytest.raises(KronaError, match=r"mood\.csv: no such file in /"):
        load(own("mood.csv"), kind="hub")
    assert len(load(own(str(tmp_path / "mood.csv")), kind="sample").train) == 16


def test_a_dev_file_without_a_test_file_is_halved(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", rows(20))
    write_csv(tmp_path / "b.csv", rows(9))
    got = load(own({"train": "a.csv", "dev": "b.csv"}), kind="hub", path=str(tmp_path))
    assert (len(got.train), len(got.dev), len(got.test)) == (20, 4, 5)
    assert got.train.ids[:2] == ["train-0", "train-1"]
    got = load(own({"train": "a.csv", "test": "b.csv"}), kind="hub", path=str(tmp_path))
    assert (len(got.train), len(got.dev), len(got.test)) == (18, 2, 9)


def test_a_regression_from_jsonl_with_two_columns(tmp_path: Path) -> None:
    lines = [{"a": f"x {i}", "b": i, "how much": i / 4, "more": None} for i in range(40)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in lines) + "\n\n")
    pairs = own(
        "pairs.jsonl", columns=["a", "b"], labels=None, label_column="how much", metrics=["pearson", "spearman"]
    )
    got = load(pairs, kind="hub", path=str(tmp_path))
    place = got.train.ids.index(next(row for row in got.train.ids if row != "train-0"))
    i = int(got.train.ids[place][6:])
    assert got.train.sources[place] == f"a: x {i} b: {i}"
    assert abs(float(got.train.targets[place]) - i / 4) <= 0.05 + 1e-9


def test_parquet_and_tsv_give_the_csvs_rows(tmp_path: Path) -> None:
    values = [{"text": f'"quoted é {i}', "label": MOODS[i % 5]} for i in range(30)]
    write_csv(tmp_path / "m.csv", values)
    pq.write_table(pa.Table.from_pylist(values), tmp_path / "m.parquet")
    lines = ["text\tlabel", *(f"{row['text']}\t{row['label']}" for row in values)]
    (tmp_path / "m.tsv").write_text("\n".join(lines))
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps(row) for row in values))
    expected = load(own("m.csv"), kind="hub", path=str(tmp_path))
    for name in ("m.parquet", "m.tsv", "m.jsonl"):
        assert load(own(name), kind="hub", path=str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", "x", "a data file ends in .tsv, .csv, .jsonl, .parquet, not in '.xlsx'"),
        ("a.csv", "text;label\nx;sad\n", "has no column 'text' (a CSV's columns are separated by commas)"),
        ("a.csv", "txt,label\nx,sad\n", "has no column 'text': did you mean 'txt'?"),
        ("a.csv", "text,label\nx,sad\nx,y,sad\n", ":3: 3 fields, but the file has 2 columns"),
        ("a.csv", 'text,label\n"x,sad\nx,sad\n', "not a CSV row"),
        ("a.csv", "text,label\nx,sat\n", ":2: label 'sat' is not one of furious (0), sad (1)"),
        ("a.csv", "text,label\nx,sad\n", "would be a split with no rows"),
        ("a.csv", "text,label\n", "a split with no rows"),
        ("a.csv", "", "is empty"),
        ("a.jsonl", '{"text": "x", "label": "sad"}\n{"text"\n', ":2: not a JSON object"),
        ("a.jsonl", "[1]\n", ":1: a line must be a JSON object"),
        ("a.jsonl", '{"txt": "x", "label": "sad"}\n', ":1: no 'text': did you mean 'txt'?"),
        ("a.jsonl", '{"text": null, "label": "sad"}\n', ":1: the column 'text' is empty (null)"),
        ("a.parquet", "PAR1 or not", "is not a Parquet file"),
        ("a.tsv", "text\tlable\nx\tsad\n", "has no column 'label': did you mean 'lable'?"),
    ],
)
def test_a_wrong_file_is_one_message(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(KronaError, match=re.escape(message)):
        load(own(name), kind="hub", path=str(tmp_path))


def test_a_wrong_parquet_column_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"texts": ["x"], "label": ["sad"]}), tmp_path / "a.parquet")
    with pytest.raises(KronaError, match=r"has no column 'text': did you mean 'texts'\?"):
        load(own("a.parquet"), kind="hub", path=str(tmp_path))


def test_a_task_without_files_or_a_place_in_glue_says_so() -> None:
    with pytest.raises(KronaError, match=re.escape("files: {train: FILE}")):
        load(Task.from_config({"name": "x", "columns": ["t"], "labels": None, "metrics": ["pearson"]}), kind="tsv")
