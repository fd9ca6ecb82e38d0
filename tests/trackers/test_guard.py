"""Test that a failing logger or a full disk cannot change the training, and that one line reports it."""

import contextlib
import os
import random
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers import Logger
from tests.trackers.one_run import one_run

from krona.trackers import loggers
from krona.trackers.loggers import GuardedLogger
from one_job import same_files


class Unruly(Logger):
    """A logger that sets the seed of every random generator at each call, and fails at one chosen call."""

    name, version, save_dir = "unruly", None, "here"

    def __init__(self, *, fails_at: str = "") -> None:
        super().__init__()
        self.fails_at, self.calls = fails_at, list[str]()

    def misbehave(self, call: str) -> None:
        self.calls.append(call)
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        if call == self.fails_at:
            raise OSError("no space\nleft on device")

    @property
    def experiment(self) -> Any:
        assert self.fails_at not in self.calls  # W&B and MLflow would connect to the server again
        return self

    def log_hyperparams(self, params: Any, *arguments: Any, **others: Any) -> None:
        self.misbehave("config")

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.misbehave("metrics")

    def finalize(self, status: str) -> None:
        self.misbehave("close")


def all_calls(guarded: GuardedLogger) -> None:
    guarded.open({})
    guarded.log_metrics({"dev/score": 1.0}, 0)
    guarded.log_metrics({"dev/score": 2.0}, 1)
    guarded.finalize("success")  # of Lightning, before the run has its last values
    guarded.log_metrics({"test/score": 2.0}, 1)
    guarded.close("done")


@pytest.mark.parametrize(("call", "calls"), [("config", 2), ("metrics", 3), ("close", 5)])
def test_after_a_failure_a_logger_is_only_closed(call: str, calls: int) -> None:
    logger, said = Unruly(fails_at=call), list[str]()
    all_calls(GuardedLogger("disk", logger, say=said.append))
    failures = [line for line in said if "failed" in line]
    assert failures == ["  The logger disk failed (no space). The run continues without it."]
    assert (len(logger.calls), logger.calls[-1]) == (calls, "close")


def test_random_numbers_are_unchanged() -> None:
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    all_calls(GuardedLogger("dice", Unruly(fails_at="close"), say=print))
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("fails_at", ["config", "metrics"])
def test_a_run_with_an_unruly_logger_is_the_same(fails_at: str, tmp_path: Path, plain: Path) -> None:
    logger = f"+logger.odd._target_={__name__}.Unruly"
    job, lines = one_run(tmp_path, logger, f"+logger.odd.fails_at={fails_at}")
    assert same_files(plain, job.folder)
    assert sum("The logger odd failed" in line for line in lines) == 1


@pytest.mark.slow
@pytest.mark.parametrize("size", [2**14, 2**20], ids=["from_the_start", "in_the_middle"])
def test_a_full_disk(size: int, tmp_path: Path, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = tmp_path / "outputs"
    (outputs / "wandb").mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", outputs / "wandb"]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here: that takes root")

    def fill(learner: Any) -> None:
        with contextlib.suppress(OSError), (outputs / "wandb" / "other").open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    try:
        changes = ["logger=wandb", "logger.wandb.timeout=2.0", "logger.wandb.table_rows=0"]
        job, lines = one_run(outputs, *changes, after_epoch=fill)
    finally:
        subprocess.run(["umount", "-l", outputs / "wandb"], check=True)
    assert same_files(plain, job.folder)
    assert any("wandb: offline" in line or "The logger wandb failed" in line for line in lines)
    assert "Logging error" not in capsys.readouterr().err


def test_a_silent_mlflow_server_costs_one_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("pytorch_lightning.loggers").MLFlowLogger
    pytest.importorskip("mlflow.tracking", reason="pip install .[mlflow]")
    monkeypatch.setattr(loggers, "CONNECT_S", 1)
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts connections, but never responds
        logger = mlflow(tracking_uri=f"http://127.0.0.1:{server.getsockname()[1]}", run_name="one")
        guarded = GuardedLogger("mlflow", logger, say=lines.append)
        began = time.monotonic()
        guarded.open({"seed": 0})
        guarded.log_metrics({"dev/score": 1.0}, 0)
        guarded.close("done")
        assert time.monotonic() - began < 20  # MLflow would try for minutes; the import of its client takes seconds
    assert len(lines) == 1
    assert "The logger mlflow failed" in lines[0]
    assert "continues without it" in lines[0]
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
