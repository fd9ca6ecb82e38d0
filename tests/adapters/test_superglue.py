"""Test runs on SuperGLUE's files: groups in predictions.jsonl, comparisons of runs, and predictions of a test file."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from krona.adapters.evaluate import RowChoice, evaluate
from krona.adapters.predict_command import predict
from krona.adapters.trained import load
from krona.report.compare import compare, read_predictions
from krona.runs.predictions import read_outcomes
from krona.runs.result import read_result
from one_job import SMALL, finish
from tasks import superglue_files


def train(name: str, backbone: Path, folder: Path, *more: str) -> Path:
    data = folder / "data"
    if not data.exists():
        superglue_files.write(data, name, train=8, validation=12)
    source = [f"task={name}", "data=jsonl", f"data.path={data}", "backbone=local", f"backbone.path={backbone}"]
    return finish(folder / "outputs", "method=lora", *source, *SMALL, "trainer.max_epochs=1", *more)[0].folder


def test_a_run_keeps_the_groups_of_its_rows(tiny_folder: Path, tmp_path: Path) -> None:
    one, two = (train("multirc", tiny_folder, tmp_path, f"seed={seed}") for seed in (0, 1))
    rows = [json.loads(line) for line in (one / "predictions.jsonl").read_text().splitlines()]
    dev = [row for row in rows if row["split"] == "dev"]
    result = read_result(one / "result.json")
    answers = read_outcomes(result, one / "predictions.jsonl")["dev"].answers
    questions = [row["source"].split(" answer: ")[0] for row in dev]
    assert answers.units == len(set(questions)) < len(dev)
    right = [all(q != question or row["target"] == row["prediction"] for q, row in zip(questions, dev, strict=True))
             for question in set(questions)]  # fmt: skip
    assert result.dev is not None
    assert result.dev["parts"]["exact_match"] == pytest.approx(100 * np.mean(right))
    sides = [
        read_predictions(str(run), tmp_path, id=None, label=None, prediction=None, metric=None) for run in (one, two)
    ]
    assert compare(sides).attrs["rows"] == len({row["group"] for row in rows if row["split"] == "test"})
    found = evaluate(load(one), RowChoice(split="dev"))
    assert found.parts == pytest.approx(result.dev["parts"])


@pytest.mark.parametrize(("name", "rows"), [("multirc", 14), ("wsc", 4)])
def test_an_official_test_file_is_predicted(name: str, rows: int, tiny_folder: Path, tmp_path: Path) -> None:
    run = train(name, tiny_folder, tmp_path)
    source = tmp_path / "data" / superglue_files.FOLDERS[name] / "test.jsonl"
    output = tmp_path / "answers.jsonl"
    predict(
        str(run), source=str(source), texts=[], output=output, backbone=None, batch_size=4, overwrite=False,
        console=Console(),
    )  # fmt: skip
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(answers) == rows
    if name == "wsc":
        assert answers[2]["text"] == "* Old Ann * sold boat 2 when # she #, at last, moved."
    if name == "multirc":
        assert (answers[1]["question"], answers[1]["answer"]) == ("Who has boat 0?", "Ann1")
