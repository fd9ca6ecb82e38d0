"""Test krona's metrics as a module of `evaluate`, and metrics of `evaluate` in krona."""

from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
from sklearn import metrics as reference

from krona.config import check
from krona.messages import KronaError
from krona.metrics import for_evaluate
from krona.metrics.scores import METRICS, criteria, get_metric, score
from krona.tasks import Task

LABELS = ["0", "1"]
RECALL = '''"""Recall."""

import datasets
import evaluate
from sklearn.metrics import recall_score


class Recall(evaluate.Metric):
    def _info(self):
        values = {"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}
        return evaluate.MetricInfo(description="", citation="", features=datasets.Features(values))

    def _compute(self, predictions, references):
        return {KEYS}
'''


def write_metric(folder: Path, name: str, values: str) -> str:
    (folder / name).mkdir(parents=True)
    (folder / name / f"{name}.py").write_text(RECALL.replace("{KEYS}", values))
    return f"evaluate:{folder / name}"


def task_config(*metrics: str) -> dict[str, Any]:
    return {"name": "mood", "columns": ["text"], "labels": ["sad", "glad"], "metrics": list(metrics), "files": "a.csv"}


@pytest.fixture(autouse=True)
def modules(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if not metric.of_probabilities])
def test_evaluate_loads_each_metric_from_one_file(name: str) -> None:
    labels = None if METRICS[name].of_numbers else ["0", "1"]
    truth, answers, groups = ["0", "1", "1", "0"], ["0", "1", "no", "1"], [4, 9, 9, 4]
    loaded = evaluate.load(for_evaluate.__file__, name, keep_in_memory=True)
    multilabel = METRICS[name].multilabel is True
    options = {"labels": labels, "groups": groups, "multilabel": multilabel}
    found = loaded.compute(references=truth, predictions=answers, **options)
    assert found == score([name], truth, answers, labels, groups, multilabel=multilabel)


def test_the_module_accepts_probabilities() -> None:
    loaded = evaluate.load(for_evaluate.__file__, "roc_auc", keep_in_memory=True)
    shares = [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]
    found = loaded.compute(references=["0", "0", "1"], predictions=["0", "1", "0"], labels=LABELS, scores=shares)
    assert found == {"roc_auc": 50.0}


@pytest.mark.parametrize("labels", [["0", "1"], ["0", "1", "2"]])
def test_a_metric_of_the_library_is_computed_from_class_indices(tmp_path: Path, labels: list[str]) -> None:
    average = "average='macro', labels=[0, 1]"
    name = write_metric(tmp_path, "recall", f"{{'recall': recall_score(references, predictions, {average})}}")
    rng = np.random.default_rng(0)
    truth, given = rng.integers(0, len(labels), (2, 40))
    texts = ["unknown" if i == 0 else str(answer) for i, answer in enumerate(given)]
    expected = given.copy()
    expected[0] = 1 - truth[0] if len(labels) == 2 else -1
    found = score([name], [*map(str, truth)], texts, labels)
    assert found == {"evaluate:recall": reference.recall_score(truth, expected, average="macro", labels=[0, 1])}


def test_a_key_selects_one_of_several_values(tmp_path: Path) -> None:
    name = write_metric(tmp_path, "several", "{'low': 1, 'high': 2.5, 'all': [1, 2]}")
    assert score([f"{name}:high"], ["0"], ["0"], LABELS) == {"evaluate:several:high": 2.5}
    for key in ("", ":all", ":middle"):
        with pytest.raises(KronaError, match=r"Use evaluate:.*:KEY with one of: low, high, all"):
            score([name + key], ["0"], ["0"], LABELS)


def test_a_metric_that_is_missing_or_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match=r"evaluate:nowhere could not be loaded.*name the folder"):
        score(["evaluate:nowhere"], ["0"], ["0"], LABELS)
    name = write_metric(tmp_path, "broken", "{'broken': 1 / 0}")
    with pytest.raises(KronaError, match="broken failed: division by zero"):
        score([name], ["0"], ["0"], LABELS)


def test_a_metric_of_the_library_neither_selects_the_epoch_nor_is_the_score(tmp_path: Path) -> None:
    name = write_metric(tmp_path, "recall", "{'recall': 0.25}")
    task = Task.from_config(task_config(name, "accuracy", "macro_f1"))
    assert task.score == ("accuracy", "macro_f1")
    assert task.criterion({"evaluate:recall": 0.25, "accuracy": 50.0, "macro_f1": 40.0}) == 45.0
    assert criteria([name, "accuracy"]) == ["accuracy"]
    with pytest.raises(KronaError, match="cannot be the score"):
        Task.from_config(task_config(name))


def test_only_a_metric_in_conf_may_run_code(tmp_path: Path) -> None:
    config = task_config("accuracy", write_metric(tmp_path, "recall", "{'recall': 1}"))
    assert get_metric(check.task(config, own=True).metrics[1], 2).selects is False
    with pytest.raises(KronaError, match="would run code"):
        check.task(config)
