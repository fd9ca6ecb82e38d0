"""Test a task with several labels per row, from `krona init` to the merged export."""

import json
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from krona import paths
from krona.messages import KronaError
from krona.metrics.scores.metric import choose_threshold, labels_above
from krona.runs.predictions import label_text
from krona.tasks.values import BadRowError
from krona.training.learner import micro_batches
from one_job import SMALL, config, finish, run
from tasks.own_task import load, mood
from tiny_backbones import write
from tiny_models import family_batch, family_for, tiny
from typed_run import krona

LABELS = ["bug", "login", "praise", "slow"]


def write_rows(file: Path, rows: int = 60) -> Path:
    """Write rows with zero to three labels, as lists (.jsonl) or as texts between semicolons (.csv)."""
    draw = random.Random(0)
    made = [(f"ticket {i} of the day", draw.sample(LABELS, draw.choice([0, 1, 1, 2, 3]))) for i in range(rows)]
    if file.suffix == ".jsonl":
        lines = [json.dumps({"id": f"T-{i}", "text": text, "tags": tags}) for i, (text, tags) in enumerate(made)]
    else:
        lines = ["id,text,tags", *(f"T-{i},{text},{'; '.join(tags)}" for i, (text, tags) in enumerate(made))]
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path / "outputs")
    return tmp_path


@pytest.mark.parametrize(
    ("value", "target"),
    [
        (["glad", "sad"], "0 2"), ("glad, sad", "0 2"), ("glad,,glad", "2"), ([2, "0"], "0 2"),
        ([], "none"), ("", "none"), (None, "none"),
    ],
)  # fmt: skip
def test_a_target_contains_the_ids_of_the_labels(value: Any, target: str) -> None:
    task = mood("mood.csv", kind="multilabel", metrics=["micro_f1"])
    assert task.target({"label": value}) == target


def test_a_list_as_the_label_of_another_task_names_the_setting(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a", "label": ["sad", "glad"]}\n')
    with pytest.raises(
        KronaError, match=r"rows\.jsonl:1: the label is a list: \['sad', 'glad'\]\. .*task\.kind=multilabel"
    ):
        load(mood(str(file)), kind="hub")
    with pytest.raises(BadRowError, match="label 'mad' is not one of"):
        mood("mood.csv", kind="multilabel", metrics=["micro_f1"]).target({"label": "glad, mad"})
    known = "macro_f1, micro_f1, micro_roc_auc, roc_auc, subset_acc"
    with pytest.raises(KronaError, match=f"'accuracy' is for classes, one per row.* Use {known}"):
        mood("mood.csv", kind="multilabel")


def test_an_encoders_loss_is_that_of_transformers() -> None:
    model = tiny("bert").eval().requires_grad_(False)
    family, batch = family_for(model), family_batch(model, rows=5, length=7, tokens=1)
    family.multilabel = True
    batch["labels"] = torch.tensor([[0, 1], [1, 1], [0, 0], [1, 0], [0, 1]])
    model.config.problem_type = "multi_label_classification"
    theirs = model(**{**batch, "labels": batch["labels"].float()}).loss
    loss = family.summed_loss(model, batch)
    torch.testing.assert_close(loss / 10, theirs)  # ten labels; in fp32
    parts = sum(family.summed_loss(model, part) for part in micro_batches(batch, 2))
    torch.testing.assert_close(parts, loss)
    assert float(family.summed_loss(model, family.no_rows(batch))) == 0.0


@pytest.mark.parametrize(("kind", "ending"), [("bert", "jsonl"), ("t5", "csv")])
def test_from_a_file_to_predictions(kind: str, ending: str, folder: Path, tiny_folder: Path) -> None:
    file = write_rows(folder / f"tickets.{ending}")
    said = krona("init", "tickets", "--from", file.name, "--label", "tags")
    between = "in lists" if ending == "jsonl" else "separated by ';'"
    assert f"tags contains several labels per row, {between}" in said
    assert "4 labels: " in said
    assert "no label" not in said
    written = (folder / "conf" / "task" / "tickets.yaml").read_text()
    assert "kind: multilabel" in written
    assert ('label_separator: ";"' in written) == (ending == "csv")
    table = krona("check-data", "tickets")
    assert [line.split()[0] for line in table.splitlines() if line.lstrip().startswith((*LABELS, "none"))] == [
        *LABELS,
        "none",
    ]

    backbone = tiny_folder if kind == "t5" else write(folder / "bert", "bert")
    overrides = ["method=lora", "task=tickets", "backbone=local", f"backbone.path={backbone}", *SMALL]
    job, _ = finish(folder / "outputs", *overrides, "micro_batch_size=3")
    assert job.result is not None
    assert job.result.test is not None
    assert {*job.result.test["parts"]} == {"micro_f1", "macro_f1"}
    lines = [json.loads(line) for line in (job.folder / "predictions.jsonl").read_text().splitlines()]
    assert {*lines[0]["target"].split()} <= {"0", "1", "2", "3", "none"}
    assert ("scores" in lines[0]) == (kind == "bert")

    shown = krona("show", job.run_id, "--mistakes", "2")
    assert "test: scores of each class" in shown
    assert "confusion" not in shown
    assert "tickets." in shown
    report = krona("report", "--format", "csv")
    assert "lora" in report.lower()
    evaluated = krona("evaluate", job.run_id)
    assert f"{job.result.test['score']:.2f}" in evaluated
    krona("evaluate", job.run_id, "--input", file.name)
    with nullcontext() if kind == "bert" else pytest.raises(KronaError, match="Most predictions of lora-tickets"):
        krona("predict", job.run_id, "--input", file.name, "--out", "answers.jsonl")
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert [row["id"] for row in answers] == [f"T-{i}" for i in range(60)]
    by_id = {row["id"]: row for row in answers}
    threshold, separator = job.result.provenance.get("threshold"), ";" if ending == "csv" else ","
    assert (threshold is not None) == (kind == "bert")
    for line in lines:
        row = by_id[line["columns"]["id"]]
        assert row["prediction"] == (label_text(line["prediction"], job.result.config["task"]) or line["prediction"])
        if kind == "bert":
            chosen = [label for label, p in row["probabilities"].items() if p > threshold]
            assert row["prediction"] == (separator.join(chosen) or "none")
    if kind == "bert":
        krona("export", job.run_id, "--out", "model")
        assert f"above {threshold:g}" in Path("model", "README.md").read_text()
        assert json.loads(Path("model", "config.json").read_text())["krona_threshold"] == threshold
        assert json.loads(Path("model", "tokenizer_config.json").read_text())["model_max_length"] == 24
        model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
        assert model.config.problem_type == "multi_label_classification"
        classify: Any = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained("model"))
        (theirs,) = classify([answers[0]["text"]], top_k=None)
        assert {one["label"]: one["score"] for one in theirs} == pytest.approx(answers[0]["probabilities"], abs=1e-4)


def test_the_threshold_is_the_best_on_dev_and_near_one_half() -> None:
    probabilities, targets = [[0.42, 0.1], [0.36, 0.3], [0.2, 0.38]], ["0", "0", "1"]

    def score(predictions: list[str]) -> float:
        return sum(map(str.__eq__, predictions, targets))

    assert labels_above(0.5, probabilities, ["0", "1"]) == ["none"] * 3
    assert choose_threshold(score, probabilities, ["0", "1"]) == 0.35
    assert choose_threshold(lambda predictions: 0.0, probabilities, ["0", "1"]) == 0.5


def test_metrics_of_probabilities_need_an_encoder(folder: Path, tiny_folder: Path) -> None:
    krona("init", "tickets", "--from", write_rows(folder / "tickets.jsonl").name, "--label", "tags")
    typed = ["method=lora", "task=tickets", "backbone=local", "task.metrics=[roc_auc,micro_roc_auc]", *SMALL]
    job, _ = finish(folder / "outputs", *typed, f"backbone.path={write(folder / 'bert', 'bert')}")
    assert job.result is not None
    assert job.result.test is not None
    lines = [json.loads(line) for line in (job.folder / "predictions.jsonl").read_text().splitlines()]
    rows = [line for line in lines if line["split"] == "test"]
    truth = np.array([[str(k) in row["target"].split() for k in range(4)] for row in rows])
    shares = np.array([[*row["scores"].values()] for row in rows])
    mixed = [k for k in range(4) if 0 < truth[:, k].sum() < len(rows)]
    assert job.result.test["parts"] == pytest.approx({
        "roc_auc": 100 * roc_auc_score(truth[:, mixed], shares[:, mixed]),
        "micro_roc_auc": 100 * roc_auc_score(truth, shares, average="micro"),
    }, rel=1e-12)  # fmt: skip
    assert "roc_auc" in krona("show", job.run_id)
    with pytest.raises(KronaError, match=r"'roc_auc' needs the probability of each label.* Use an encoder"):
        run(config(*typed, f"backbone.path={tiny_folder}"), folder / "outputs")
    assert [path.parent.name for path in (folder / "outputs").glob("*/result.json")] == [job.run_id]
