"""Fixtures that keep W&B and MLflow in the folder of the test, without the key of the user."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.trackers.one_run import one_run


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    of_wandb = "API_KEY MODE DIR SWEEP_ID PROJECT ENTITY NAME RUN_GROUP JOB_TYPE TAGS NOTES"
    for name in (*(f"WANDB_{name}" for name in of_wandb.split()), "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NETRC", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb_home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")  # the tracker itself sets the same values
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    if "wandb" in sys.modules:
        import wandb

        wandb.teardown()  # because the next test may use another server


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the small run without a tracker."""
    job, _ = one_run(tmp_path_factory.mktemp("plain"))
    assert job.state == "done"
    return job.folder


def same_training(left: Path, right: Path) -> None:
    """Check that two runs are equal: their weights, dev curves and predictions, to the bit."""
    assert (left / "predictions.jsonl").read_bytes() == (right / "predictions.jsonl").read_bytes()
    one, other = (load_file(folder / "adapter.safetensors") for folder in (left, right))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    results = [json.loads((folder / "result.json").read_text()) for folder in (left, right)]
    for result in results:
        for row in result["dev_curve"]:
            del row["examples_per_s"]
    for key in ("dev_curve", "dev", "test", "notes", "best_epoch", "status"):
        assert results[0][key] == results[1][key], key
