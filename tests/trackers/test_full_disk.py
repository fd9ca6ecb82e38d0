"""Test that a full disk below wandb/ does not change the training, and that one line reports it."""

import contextlib
import errno
import logging
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.trackers.conftest import same_training
from tests.trackers.one_run import one_run


class NoRoom(logging.Handler):
    """A handler of W&B's log file on a full disk."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            self.handleError(record)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2**14, 2**20], ids=["from_the_start", "in_the_middle"])
def test_a_full_disk(size: int, tmp_path: Path, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = tmp_path / "outputs"
    (outputs / "wandb").mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", outputs / "wandb"], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here: that takes root")

    def fill(learner: Any) -> None:
        with contextlib.suppress(OSError), (outputs / "wandb" / "other").open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    try:
        job, lines = one_run(
            outputs, "logger=wandb", "logger.wandb.timeout=2.0", "logger.wandb.table_rows=0", after_epoch=fill
        )
    finally:
        subprocess.run(["umount", "-l", outputs / "wandb"], check=True)
    logger, late = logging.getLogger("wandb"), NoRoom()
    logger.addHandler(late)
    logger.error("said by a thread that nobody waits for any more")
    logger.removeHandler(late)
    same_training(plain, job.folder)
    said = [line for line in lines if "wandb:" in line]
    assert len(said) == 2, said
    assert "wandb: offline" in said[0]
    assert "the disk is full. " in said[1] or "No space left on device" in said[1]
    assert "Logging error" not in capsys.readouterr().err
