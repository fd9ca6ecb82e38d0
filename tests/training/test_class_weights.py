"""Test the weights of the labels in the training loss (task.class_weights)."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from krona.messages import KronaError
from krona.training import in_python
from krona.training.learner import micro_batches
from one_job import SMALL, config, finish
from tasks.own_task import MOODS, mood
from tiny_backbones import write
from tiny_models import family_batch, family_for, tiny

BALANCED = "++task.class_weights=balanced"


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    draw = random.Random(0)
    task = mood("mood.csv", labels=[f"m{i}" for i in range(6)], class_weights="balanced")
    for _ in range(200):
        targets = [str(draw.choice(range(draw.randint(1, 6)))) for _ in range(draw.randint(1, 50))]
        classes = np.unique(targets)  # a class without rows has no weight
        expected = dict(zip(classes, compute_class_weight("balanced", classes=classes, y=targets), strict=True))
        assert task.loss_weights(targets) == pytest.approx(expected, rel=1e-12)


def test_given_weights_are_those_of_the_labels_and_one_for_others() -> None:
    task = mood("mood.csv", class_weights={"glad": 3, "sad": 0})
    assert task.loss_weights(["0", "1"]) == {"0": 0.0, "1": 1.0, "2": 3.0}
    assert mood("mood.csv").loss_weights(["0"]) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_weights": {"glat": 2}}, r"class_weights: 'glat' is not a label: did you mean 'glad'"),
        ({"class_weights": {"glad": -1}}, "class_weights.*glad.*-1"),
        ({"class_weights": "equal"}, "class_weights.*equal.*balanced"),
        (
            {"class_weights": "balanced", "labels": None, "metrics": ["pearson"]},
            "one label per row, .* a regression",
        ),
    ],
)
def test_a_wrong_value_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(KronaError, match=message):
        mood("mood.csv", **changes)


@pytest.mark.parametrize("kind", ["t5", "gpt2", "bert"])
def test_the_loss_is_the_weighted_sum_over_rows(kind: str) -> None:
    model = tiny(kind).eval().requires_grad_(False)
    family, batch = family_for(model), family_batch(model, rows=5, length=7, tokens=3)
    batch["labels"][1, 1:] = -100
    weights = torch.tensor([[0.5], [2.0], [0.0], [1.0], [3.0]])
    batch["weights"] = weights.view(torch.int32)
    expected, logits = 0.0, family.logits(model, batch).double()
    logits = logits.view(5, -1, logits.shape[-1])
    for row, labels in enumerate(batch["labels"].tolist()):
        for place, label in enumerate(labels):
            if label != -100:
                expected -= float(weights[row] * logits[row, place].log_softmax(-1)[label])
    loss = family.summed_loss(model, batch)
    assert float(loss) == pytest.approx(expected, rel=1e-5)  # the loss is computed in fp32
    parts = [float(family.summed_loss(model, part)) for part in micro_batches(batch, 2)]
    assert sum(parts) == pytest.approx(float(loss), rel=1e-5)


@pytest.fixture
def overrides(tmp_path: Path) -> list[str]:
    """Return the overrides of a small run on 20 rows, of which 16 have the first label."""
    rows = [f"day {i},{MOODS[0] if i % 5 else MOODS[1]}" for i in range(20)]
    (tmp_path / "mood.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (tmp_path / "conf" / "task").mkdir(parents=True)
    task = "name: mood\ncolumns: [text]\nlabels: [sad, calm, glad]\nmetrics: [accuracy]\nfiles: {train: mood.csv}\n"
    (tmp_path / "conf" / "task" / "mood.yaml").write_text(task)
    return ["method=lora", "task=mood", f"data.path={tmp_path}", *SMALL]


@pytest.mark.parametrize("kind", ["t5", "bert"])
def test_each_training_row_has_the_weight_of_its_label(
    kind: str, overrides: list[str], tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tiny_folder if kind == "t5" else write(tmp_path / "bert", "bert")
    values = config(*overrides, BALANCED, "backbone=local", f"backbone.path={folder}")
    module, loaders = in_python.module_and_loaders(values)
    targets = module.data.dev.family.task.target_strings()
    rows = {tuple(module.family.label(target)): target for target in targets}
    known = [rows[tuple(row["labels"])] for row in loaders.train.dataset]
    share = {target: len(known) / (2 * known.count(target)) for target in ("0", "1")}  # no row is glad
    for batch in loaders.train:
        own = [rows[tuple(label for label in labels if label != -100)] for labels in batch["labels"].tolist()]
        assert batch["weights"].view(torch.float32)[:, 0].tolist() == pytest.approx([share[one] for one in own])
    assert all("weights" not in batch for batch in loaders.dev)


def test_a_run_records_its_weights(
    overrides: list[str], tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides += ["backbone=local", f"backbone.path={tiny_folder}"]
    job = finish(tmp_path / "outputs", *overrides, BALANCED, "micro_batch_size=1")[0]
    assert job.result is not None
    counts = job.result.splits["train"]["targets"]
    first, second = (sum(counts.values()) / (2 * counts[target]) for target in ("0", "1"))
    assert f"Weights of the labels in the loss: sad (0) {first:.4g}, calm (1) {second:.4g}." in job.result.notes
