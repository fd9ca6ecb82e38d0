"""Fixtures that keep W&B and MLflow in the folder of the test, without the key of the user."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
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
