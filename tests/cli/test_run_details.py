"""Test what `krona show` prints of a finished run: the scores of each class, mistakes, and slices."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from krona import paths
from runs.made_runs import run
from typed_run import invoke

LABELS = ["billing", "bug", "login"]
ROWS = [  # target, prediction, language, probability of the prediction
    ("0", "0", "en", 0.9),
    ("0", "1", "en", 0.6),
    ("1", "1", "de", 0.7),
    ("1", "2", "de", 0.99),
    ("2", "2", "en", 0.8),
    ("2", "what?", "", None),
]


def write_run(outputs: Path, rows: list[dict[str, Any]], task: dict[str, Any]) -> Path:
    (metric,) = task["metrics"]
    pairs = [(row["target"], row["prediction"]) for row in rows]
    if metric == "accuracy":
        score = 100 * float(np.mean([target == prediction for target, prediction in pairs]))
    else:
        score = 100 * float(np.corrcoef(np.array(pairs, float).T)[0, 1])
    scored = {"score": score, "choice": score, "parts": {metric: score}}
    config = {"method": {"name": "krona"}, "task": task, "keep": "adapter", "trainer": {"max_epochs": 3}}
    config |= {"optimizer": {"lr": 1e-3, "warmup_steps": 0.06}, "batch_size": 3}
    values: dict[str, Any] = {
        "splits": {"test": {"rows": len(rows)}, "train": {"rows": 9, "targets": {"0": 5, "1": 4}}},
        "times": {"total": 1.0, "train": 1.0, "examples_per_s": 1.0},
        "peak_memory": {"host": 2**20},
        "trainable_percent": 1.0,
        "best_epoch": 1,
    }
    folder = run(outputs, dev=scored, test=scored, config=config, **values)
    lines = [json.dumps({"split": split, **row}) for split in ("dev", "test") for row in rows]
    (folder / "predictions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path / "outputs")
    return tmp_path / "outputs"


def tickets(*, scores: bool = True, **task: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    rows = []
    for number, (target, prediction, language, p) in enumerate(ROWS):
        row: dict[str, Any] = {"id": f"train-{number}", "source": f"text {number}", "target": target}
        row |= {"prediction": prediction, "line": number + 2, "columns": {"key": f"T-{number}", "language": language}}
        word = LABELS[int(prediction)] if prediction.isdigit() else None
        rows.append(row | ({"scores": {word: p}} if scores and p is not None else {}))
    values = {"name": "tickets", "labels": LABELS, "metrics": ["accuracy"], "files": {"train": "/some/where/t.csv"}}
    return rows, values | task


def test_mistakes_have_their_text_their_line_and_their_other_columns(outputs: Path) -> None:
    write_run(outputs, *tickets())
    shown = invoke("show", "krona", "--mistakes", "2").output
    assert "test: 3 wrong predictions (the first 2), the worst first" in shown
    mistakes = shown.partition("the worst first\n")[2].splitlines()
    assert mistakes[:6] == [
        "t.csv:5: target bug, prediction login (p 0.990)",
        "    text 3",
        "    key: T-3, language: de",
        "t.csv:3: target billing, prediction bug (p 0.600)",
        "    text 1",
        "    key: T-1, language: en",
    ]


def test_mistakes_without_probabilities_are_in_the_order_of_the_file(outputs: Path) -> None:
    write_run(outputs, *tickets(scores=False))
    shown = invoke("show", "krona", "--mistakes", "9").output
    assert "test: 3 wrong predictions\n" in shown
    assert [line.partition(":")[2][:1] for line in shown.splitlines() if line.startswith("t.csv:")] == ["3", "5", "7"]
    assert "t.csv:7: target login, prediction 'what?' (no label)" in shown


@pytest.mark.parametrize("by_task", [True, False])
def test_slices(by_task: bool, outputs: Path) -> None:
    write_run(outputs, *tickets(**({"slices": ["language"]} if by_task else {})))
    shown = invoke("show", "krona", *([] if by_task else ["--slice", "language"])).output
    rows = [line.split()[:3] for line in shown.partition("score by language")[2].splitlines()]
    assert [row for row in rows if row[1:2] in (["1"], ["2"], ["3"])] == [
        ["(empty)", "1", "0.00"], ["de", "2", "50.00"], ["en", "3", "66.67"],
    ]  # fmt: skip


def test_a_slice_that_the_rows_lack_is_one_message(outputs: Path) -> None:
    write_run(outputs, *tickets())
    failed = invoke("show", "krona", "--slice", "langauge")
    assert failed.exit_code
    assert "have no column 'langauge': did you mean 'language'?" in str(failed.exception)


def test_many_classes_are_pairs_and_a_regression_has_residuals(outputs: Path) -> None:
    rows, task = tickets(labels=[f"c{i}" for i in range(13)])
    folder = write_run(outputs, rows, task)
    shown = invoke("show", "krona").output
    assert "confusion matrix" not in shown
    pairs = shown.partition("test: most frequent mistakes")[2]
    assert [line.split()[:2] for line in pairs.splitlines()[3:6]] == [["c0", "c1"], ["c1", "c2"], ["c2", "no"]]
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    numbers = [{**row, "prediction": value} for row, value in zip(rows, ["0", "1", "1", "2.5", "2", "2"], strict=True)]
    write_run(outputs, numbers, {**task, "labels": None, "metrics": ["pearson"]})
    shown = invoke("show", "krona", "--mistakes", "1").output
    assert "test: prediction − target" in shown
    assert (
        "test: 2 predictions with an error (the first 1), the worst first\nt.csv:5: target 1, prediction 2.5 (+1.5)"
        in shown
    )
