"""Test that a failing tracker or a full disk cannot change the training, and that one line reports it."""

import contextlib
import random
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.trackers.one_run import one_run

from krona.messages import KronaError
from krona.trackers.tracker import About, Ending, Guarded, Value
from krona.training import tracking
from one_job import same_files

ABOUT = About(run_id="a-1", folder=Path("a-1"), method="krona", task="rte", sweep=None, config={}, resumed=False)


class Unruly:
    """A tracker that sets the seed of every random generator at each call, and fails or hangs at one chosen call."""

    def __init__(self, *, fails_at: str = "", hangs_at: str = "") -> None:
        self.fails_at, self.hangs_at = fails_at, hangs_at
        self.calls: list[str] = []
        self.released = threading.Event()

    def misbehave(self, call: str) -> None:
        self.calls.append(call)
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        if call == self.hangs_at:
            self.released.wait(30)
        if call == self.fails_at:
            raise OSError("no space\nleft on device")

    def open(self, about: About) -> str | None:
        self.misbehave("open")
        return "here"

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self.misbehave("epoch")

    def end(self, summary: Mapping[str, Value]) -> None:
        self.misbehave("end")

    def close(self, ending: Ending) -> str | None:
        self.misbehave("close")
        return None


def all_calls(guarded: Guarded) -> None:
    guarded.call("open", ABOUT, when="start")
    guarded.call("steps", {1: 0.5}, when="step 1")  # a missing method
    guarded.call("epoch", 1, {}, when="epoch 1")
    guarded.call("epoch", 2, {}, when="epoch 2")
    guarded.call("end", {}, when="the end")
    guarded.call("close", "done", when="closing")


@pytest.mark.parametrize("call", ["open", "epoch", "end", "close"])
def test_after_a_failure_only_close_is_called(call: str) -> None:
    tracker, said = Unruly(fails_at=call), list[str]()
    all_calls(Guarded("disk", tracker, say=said.append))
    failures = [line for line in said if "failed" in line]
    assert len(failures) == 1
    assert "(no space)" in failures[0]
    assert "\n" not in failures[0]
    assert tracker.calls.count(call) == 1
    assert tracker.calls[-1] == "close"


def test_a_call_that_hangs_is_abandoned() -> None:
    tracker, said = Unruly(hangs_at="epoch"), list[str]()
    all_calls(Guarded("slow", tracker, say=said.append, limit_s=0.2))
    tracker.released.set()
    for thread in threading.enumerate():
        if thread.name == "tracker slow":
            thread.join(10)  # otherwise it would draw random numbers in the next test
    assert said == ["  slow: here", said[1]]
    assert "failed at epoch 1 (no response within 0.2 s)" in said[1]


def test_random_streams_are_unchanged() -> None:
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    all_calls(Guarded("dice", Unruly(fails_at="epoch"), say=print))
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("fails_at", ["open", "epoch"])
def test_a_run_with_an_unruly_tracker_is_the_same(
    fails_at: str, tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "build", lambda *arguments, **others: Unruly(fails_at=fails_at))
    job, lines = one_run(tmp_path, "logger=wandb")
    assert same_files(plain, job.folder)
    assert sum("failed at" in line for line in lines) == 1


def test_a_wrong_name_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match="must not contain /"):
        one_run(tmp_path, "logger=wandb", "logger.wandb.project=a/b")
    assert not list(tmp_path.glob("krona-*"))


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
    said = [line for line in lines if "wandb:" in line]
    assert len(said) == 2, said
    assert "wandb: offline" in said[0]
    assert "the disk is full. " in said[1] or "No space left on device" in said[1]
    assert "Logging error" not in capsys.readouterr().err
