"""Test the predictions as words, and the probabilities of their labels."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from krona.messages import KronaError
from krona.metrics.scores.metric import Answers
from krona.runs.pack import pack
from krona.runs.predictions import (
    _check_scores,
    decode_label,
    invalid_predictions,
    label_words,
    read_outcomes,
)
from krona.runs.result import read_result
from runs.made_runs import run

RTE = {"labels": {"not_entailment": 1, "entailment": 0}}


def test_labels_in_words() -> None:
    assert label_words(RTE) == {"0": "entailment", "1": "not_entailment"}
    assert label_words({"labels": ["a", "b"]}) == {"0": "a", "1": "b"}
    assert label_words({"labels": None}) == {}
    assert decode_label(" 1", RTE) == "not_entailment"
    assert decode_label("yes", RTE) == "'yes' (no label)"
    assert decode_label("2.5", {}) == "2.5"
    assert decode_label("nan", {}) == "'nan' (no number)"


def test_what_is_no_label() -> None:
    assert invalid_predictions(["0", "1 ", "", "01"], RTE) == ["", "01"]
    assert invalid_predictions(["0.5", "-1", "1e5", "x"], {"labels": None}) == ["1e5", "x"]


def test_scipys_score_of_nearly_equal_predictions_is_accepted() -> None:
    """The stored scores of such a run are correct, so it must not be called edited."""
    random = np.random.default_rng(0)
    truth = random.uniform(0, 5, 200)
    answers = Answers(truth, 2.7 + 1e-9 * random.normal(size=200), classes=0)
    exact = 100 * stats.pearsonr(truth, answers.predictions).statistic
    _check_scores("dev", {"parts": {"pearson": exact}, "score": exact}, answers, ["pearson"])
    with pytest.raises(ValueError, match="Was a file edited"):
        _check_scores("dev", {"parts": {"pearson": exact + 1}, "score": exact + 1}, answers, ["pearson"])


def run_with_scores(outputs: Path, metrics: list[str], values: dict[str, float], **parts: Any) -> Path:
    """Write a run whose predictions have the probabilities 0.9, 0.4, 0.7 and null of the second label."""
    task = {"name": "rte", "labels": {"no": 1, "yes": 0}, "metrics": metrics, "score": metrics[:1]}
    score = values[metrics[0]]
    part = {"score": score, "choice": score, "parts": values}
    config = {"method": {"name": "krona"}, "task": task, "keep": "adapter", "trainer": {"max_epochs": 3}}
    folder = run(outputs, "-".join(["krona", *metrics]), dev=part, test=part, config=config)
    lines = []
    for split in ("dev", "test"):
        for target, share in zip("1001", (0.9, 0.4, 0.7, None), strict=True):
            scores = {"yes": None if share is None else round(1 - share, 6), "no": share}
            row = {"split": split, "target": target, "prediction": target, "scores": scores}
            lines.append(json.dumps(row) + "\n")
    (folder / "predictions.jsonl").write_text("".join(lines))
    return folder


def test_probabilities_are_read_and_checked_if_the_score_needs_them(tmp_path: Path) -> None:
    # the row without a probability counts as 0, below both negative rows: 2 of 4 pairs are in order
    folder = run_with_scores(tmp_path, ["roc_auc", "accuracy"], {"roc_auc": 50.0, "accuracy": 100.0})
    outcomes = read_outcomes(read_result(folder / "result.json"), folder / "predictions.jsonl")
    scores = outcomes["test"].answers.probabilities
    assert scores is not None
    assert scores.tolist() == [[0.1, 0.9], [0.6, 0.4], [0.3, 0.7], [1.0, 0.0]]
    text = (folder / "predictions.jsonl").read_text()
    (folder / "predictions.jsonl").write_text(text.replace('"no": 0.9', '"no": 0.5'))
    with pytest.raises(KronaError, match="Was a file edited"):
        read_outcomes(read_result(folder / "result.json"), folder / "predictions.jsonl")


def test_a_pack_contains_probabilities_only_if_the_score_needs_them(tmp_path: Path) -> None:
    runs = tmp_path / "outputs"
    of_scores = run_with_scores(runs, ["roc_auc"], {"roc_auc": 50.0})
    of_answers = run_with_scores(runs, ["accuracy", "log_loss"], {"accuracy": 100.0, "log_loss": 9.0})
    assert read_outcomes(read_result(of_answers / "result.json"), of_answers / "predictions.jsonl")
    pack(runs, tmp_path / "runs.tar.xz")
    with tarfile.open(tmp_path / "runs.tar.xz") as archive:
        for folder, expected in ((of_scores, True), (of_answers, False)):
            file = archive.extractfile(f"{folder.name}/predictions.jsonl")
            assert file is not None
            assert (b"scores" in file.read()) is expected
