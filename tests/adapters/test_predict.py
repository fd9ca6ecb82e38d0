"""Test `krona predict`: order of the rows, file formats, interruption, complete files."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from krona import paths
from krona.adapters import predict_command
from krona.adapters.evaluate import RowChoice, evaluate
from krona.adapters.find import find
from krona.adapters.predictor import Prediction, Predictor
from krona.adapters.trained import load
from krona.messages import KronaError
from tasks import glue_files, own_task
from typed_run import invoke, krona

SENTENCES = [text for (text,) in own_task.load(glue_files.task("sample_sst2"), kind="sample").test.texts[:40]]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict_command, "CHUNK", 8)


def ask(run: Path, output: Path | None = None, source: Path | str | None = None, texts: Any = (), **more: Any) -> str:
    """Run `krona predict` and return its text on the terminal."""
    said = io.StringIO()
    options: dict[str, Any] = {"backbone": None, "batch_size": 16, "overwrite": False}
    predict_command.predict(
        str(run), source=None if source is None else str(source), texts=list(texts), output=output,
        console=Console(file=said, width=200, force_terminal=True), **(options | more),
    )  # fmt: skip
    return said.getvalue()


def read(output: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of predictions. The probabilities of TSV and CSV are in columns such as p(positive)."""
    with output.open(newline="") as file:
        if output.suffix == ".jsonl":
            return [json.loads(line) for line in file]
        return [*csv.DictReader(file, delimiter="\t" if output.suffix == ".tsv" else ",")]


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl"])
def test_all_rows_in_order_with_their_other_columns(
    ending: str, sst2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, output = tmp_path / "rows.jsonl", tmp_path / f"answers.{ending}"
    # the first part of the rows lacks a column, and a whole number is missing in some rows
    values = [
        {"id": number, "sentence": text, "price": number / 2, **({"n": 1} if number % 2 else {}), "late": number > 20}
        for number, text in enumerate(SENTENCES)
    ]
    rows.write_text("".join(json.dumps(row) + "\n" for row in values))
    ask(sst2, source=rows, output=output)
    expected, found = load(sst2).predict(SENTENCES), read(output)
    assert len({one.answer for one in expected}) > 2  # otherwise the order would not be tested
    unknown = sum(one.word is None for one in expected)
    assert unknown > 0
    assert f"not labels ({unknown} rows)" in " ".join(capsys.readouterr().err.split())
    assert [row["prediction"] for row in found] == [one.word or one.answer for one in expected]
    if ending == "jsonl":
        shares = [row["probabilities"] for row in found]
        assert [{name: row[name] for name in old} for row, old in zip(found, values, strict=True)] == values
    else:
        shares = [{word: float(row[f"p({word})"]) for word in ("negative", "positive")} for row in found]
        for name in ("id", "sentence", "price", "n"):
            assert [row[name] for row in found] == [str(row.get(name, "")) for row in values]
    assert shares == [pytest.approx(dict(one.probabilities), abs=1e-5) for one in expected]
    assert {path.name for path in tmp_path.iterdir()} == {rows.name, output.name}


def test_a_quoted_tsv_is_read_as_in_the_training(sst2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, answers = tmp_path / "rows.tsv", tmp_path / "answers.jsonl"
    rows.write_text('sentence\n"He said ""no"", twice"\n')
    ask(sst2, source=rows, output=answers)
    assert read(answers)[0]["sentence"] == '"He said ""no"", twice"'
    trained = find(sst2)
    assert trained.result is not None
    config = trained.result.config
    quoted = trained.result.model_copy(update={"config": {**config, "data": {**config["data"], "quoting": "csv"}}})
    monkeypatch.setattr(predict_command, "find", lambda run: replace(trained, result=quoted))
    ask(sst2, source=rows, output=answers, overwrite=True)
    assert read(answers)[0]["sentence"] == 'He said "no", twice'


def test_mostly_invalid_predictions_are_written_and_fail(
    sst2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["1", "some", "words"] * 10)
    monkeypatch.setattr(
        Predictor, "predict_split", lambda *_, **__: [Prediction(next(answers), None, {}) for _ in range(3)]
    )
    (tmp_path / "rows.tsv").write_text("sentence\na\nb\nc\n")
    done = invoke("predict", str(sst2), "--input", str(tmp_path / "rows.tsv"), "--out", str(tmp_path / "answers.tsv"))
    assert f"Most predictions of {sst2.name} are invalid" in str(done.exception)
    assert len((tmp_path / "answers.tsv").read_text().splitlines()) == 4


def test_cut_rows_are_counted(sst2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.tsv").write_text("".join(f"{text}\n" for text in ["sentence", *SENTENCES[:9], "word " * 500]))
    ask(sst2, source=tmp_path / "rows.tsv", output=tmp_path / "answers.tsv")
    assert f"{sst2.name} read only the first 128 tokens (1 row)." in " ".join(capsys.readouterr().err.split())
    (tmp_path / "labelled.tsv").write_text("sentence\tlabel\nwell\t1\n" + "word " * 500 + "\t0\n")
    one = evaluate(load(sst2), RowChoice(source=str(tmp_path / "labelled.tsv")))
    assert one.notes == ["Sources longer than max_source_length=128 were cut: 1 of 2."]


def test_typed_texts_are_a_table_on_a_terminal(rte: Path) -> None:
    said = ask(rte, texts=["It rains.", "It is wet.", "He sleeps.", "He is awake."])
    assert said.index("It rains.") < said.index("He sleeps.")
    assert "p(not_entailment)" in said
    with pytest.raises(KronaError, match=r"--text has 3 texts, but each row of task sample_rte"):
        ask(rte, texts=["a", "b", "c"])
    with pytest.raises(KronaError, match="--input FILE"):
        ask(rte)
    with pytest.raises(KronaError, match="--input FILE"):
        ask(rte, source="x.tsv", texts=["a", "b"])


def test_refused_outputs(sst2: Path, tmp_path: Path) -> None:
    there, rows, new = tmp_path / "a.tsv", tmp_path / "rows.tsv", tmp_path / "new" / "a.tsv"
    there.write_text("mine")
    rows.write_text("sentence\ngood\nbad\n")
    for output, message in [
        (there, r"a.tsv exists. Use --overwrite"),
        (rows, r"rows.tsv is the input file"),
        (tmp_path / "a.xlsx", r"--out .*a.xlsx has an unknown ending: choose from .tsv, .csv, .jsonl"),
    ]:
        with pytest.raises(KronaError, match=message):
            ask(sst2, source=rows, output=output, overwrite=output == rows)
    assert there.read_text() == "mine"
    ask(sst2, source=rows, output=there, overwrite=True)
    ask(sst2, source=rows, output=new)
    assert new.read_text() == there.read_text()
    assert len(read(new)) == 2
    rows.write_text("sentence\n")
    with pytest.raises(KronaError, match="The input has no rows"):
        ask(sst2, source=rows)


def test_a_wrong_row_in_the_middle_names_its_place(sst2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real, parts = tmp_path / "rows.jsonl", Predictor.predict_split, list[int]()

    def counted(self: Predictor, split: Any, **more: Any) -> list[Prediction]:
        parts.append(len(split))
        return real(self, split, **more)

    monkeypatch.setattr(Predictor, "predict_split", counted)
    path.write_text("".join(json.dumps({"sentence": text}) + "\n" for text in SENTENCES[:20]) + '{"sense": "a"}\n')
    with pytest.raises(KronaError, match=r"rows.jsonl:21: the key 'sentence' is missing"):
        ask(sst2, source=path, output=tmp_path / "a.tsv")
    assert not (tmp_path / "a.tsv").exists()
    assert parts == [8, 8]  # the rows before it were predicted, so not all rows are in memory


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_rows_without_a_text_keep_their_place_and_are_named(
    ending: str, sst2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "rows.csv", tmp_path / f"a.{ending}"
    source.write_text('id,sentence\n1,good\n2,""\n3,bad\n4,"  "\n' + "5,fine\n" * 10)
    ask(sst2, source=source, output=out)
    said = " ".join(capsys.readouterr().err.split())
    assert f"2 rows without a text is empty: {source}:3, " in said.replace("- ", "-")
    rows = read(out)
    empty = {"id": "2", "sentence": "", "prediction": ""}
    if ending == "csv":
        assert rows[1] == {**empty, "p(negative)": "", "p(positive)": ""}
    else:
        assert rows[1] == {**empty, "probabilities": {"negative": None, "positive": None}}
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", *"5" * 10]
    expected = [one.word or one.answer for one in load(sst2).predict(["good", "bad", *["fine"] * 10])]
    assert [row["prediction"] for row in rows] == [expected[0], "", expected[1], "", *expected[2:]]
    with pytest.raises(KronaError, match="text 1: the row has no text"):
        ask(sst2, texts=[""])


def test_the_command_with_texts(rte: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "OUTPUTS", rte.parent)
    texts = ["--text", "It rains.", "It is wet.", "--batch-size", "2"]
    header, row = krona("predict", rte.name, *texts).splitlines()
    assert header == "sentence1\tsentence2\tprediction\tp(entailment)\tp(not_entailment)"
    assert row.startswith("It rains.\tIt is wet.\t")
