"""Test sweeps on a real SLURM cluster (tests/slurm/setup.sh). Only `make test-slurm` runs these tests."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from typed_run import start, train, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]
FOUR = ["-m", "method=lora,krona", "seed=0,1"]
HOLD = """
import time
from pathlib import Path

import pytorch_lightning as pl


class Hold(pl.Callback):
    def __init__(self, until: str) -> None:
        self.until = Path(until)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        while trainer.current_epoch >= 2 and not self.until.exists():  # two epochs are on disk
            time.sleep(0.1)
"""
SLURM = [
    "hydra/launcher=submitit_slurm",
    "hydra.launcher.gpus_per_node=0",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=2",
]
SAME = ("adapter.safetensors", "predictions.jsonl")
Begin = Callable[..., subprocess.Popen[str]]


def asked(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def held(folder: Path) -> tuple[list[str], Path]:
    """Return overrides with which a run stays in its third epoch until a file exists, and the path of this file."""
    (folder / "hold.py").write_text(HOLD)
    go = folder / "go"
    return ["trainer.max_epochs=6", "+callbacks.hold._target_=hold.Hold", f"+callbacks.hold.until={go}"], go


def epochs(folder: Path) -> int:
    path = folder / "result.json"
    return len(json.loads(path.read_text())["dev_curve"]) if path.is_file() else 0


def running(outputs: Path) -> list[Path]:
    """Return the runs that are claimed and have finished an epoch."""
    return [path.parent for path in outputs.glob("*/claim.json") if epochs(path.parent) > 1]


def interrupted(outputs: Path) -> set[Path]:
    """Return the runs with the status interrupted."""
    paths = outputs.glob("*/result.json")
    return {path.parent for path in paths if json.loads(path.read_text())["status"] == "interrupted"}


def the_same(one: Path, other: Path) -> None:
    a, b = (json.loads((folder / "result.json").read_text()) for folder in (one, other))
    assert (a["dev"], a["test"], a["best_epoch"]) == (b["dev"], b["test"], b["best_epoch"])
    assert a["provenance"]["threads"] == b["provenance"]["threads"] == 1
    for name in SAME:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Yield the function `start`. After the test, its processes and jobs are ended, so that the queue is empty."""
    begun: list[subprocess.Popen[str]] = []

    def start_one(outputs: Path, *arguments: str) -> subprocess.Popen[str]:
        begun.append(start(outputs, *arguments))
        return begun[-1]

    yield start_one
    for process in begun:
        process.kill()
        process.communicate()
    while asked("squeue", "--me", "--noheader"):
        asked("scancel", "--me")
        time.sleep(1)


def test_a_sweep_of_four_one_preempted_and_one_requeued_gives_the_local_bits(
    begin: Begin, small: list[str], tmp_path: Path
) -> None:
    outputs = tmp_path / "slurm"
    hold, go = held(tmp_path)
    process = begin(outputs, *FOUR, *small, *SLURM, *hold)
    stopped: set[Path] = set()  # runs that were interrupted at least once

    def stopped_runs() -> int:
        stopped.update(interrupted(outputs))
        return len(stopped)

    cores = int(asked("nproc", "--all"))
    wait_for(process, lambda: len(running(outputs)) >= min(cores, 4))  # so a run that stops has results
    urgent = ["sbatch", "--partition=urgent", "--cpus-per-task=1", "--output=/dev/null", "--wrap=sleep 3"]
    if cores > 2:  # on a larger node, no job has to be preempted for one core
        urgent[2:3] = ["--exclusive"]
    asked(*urgent)
    wait_for(process, lambda: stopped_runs() > 0)
    # The preempted job may still be in the queue as running, so the requeued job is that of another run.
    wait_for(process, lambda: bool({*running(outputs)} - stopped))
    other, *_ = {*running(outputs)} - stopped
    asked("scontrol", "requeue", json.loads((other / "claim.json").read_text())["slurm"][0])
    wait_for(process, lambda: stopped_runs() > 1)
    # only now: the held runs occupy all cores, so the stopped ones cannot start again before it
    go.touch()
    out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out
    assert "4 runs: 4 done" in out
    logs = [path.read_text() for path in outputs.glob("*/train.log")]
    assert sum("resumes after epoch" in log for log in logs) >= 2
    here = train(tmp_path / "here", *FOUR, *small, *hold, timeout_s=600)
    assert here.returncode == 0, here.stderr
    folders = sorted(path.parent for path in outputs.glob("*/result.json"))
    assert len(folders) == 4
    for folder in folders:
        the_same(folder, tmp_path / "here" / folder.name)


def test_a_job_that_is_cancelled_takes_no_other_with_it(begin: Begin, small: list[str], tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    hold, go = held(tmp_path)
    process = begin(outputs, "-m", "method=lora", "seed=0,1,2", *small, *SLURM, *hold)
    wait_for(process, lambda: len(running(outputs)) > 0)
    one = asked("squeue", "--me", "--array", "--noheader", "--states=R", "--format=%i").split()[0]
    asked("scancel", one)
    go.touch()
    out, err = process.communicate()
    assert (process.returncode, err) == (1, ""), err
    assert "3 runs: 2 done, 1 failed" in out
    assert re.search(rf"job {one} ended .* \S+_log\.err", out)
    again = train(outputs, "-m", "method=lora", "seed=0,1,2", *small, *hold)
    assert again.returncode == 0
    assert "3 runs: 1 done, 2 done already" in again.stdout


def test_a_run_that_reaches_its_limit_goes_on_by_itself(begin: Begin, small: list[str], tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    hold, go = held(tmp_path)
    process = begin(outputs, "-m", "method=lora", *small, *hold, *SLURM, "hydra.launcher.signal_delay_s=120")
    wait_for(process, lambda: len(running(outputs)) > 0)
    (number,) = asked("squeue", "--me", "--noheader", "--format=%i").split()
    elapsed = int(asked("squeue", "--me", "--noheader", "--format=%M").strip().split(":")[0])
    asked("scontrol", "update", f"JobId={number}", f"TimeLimit={elapsed + 2}")  # so SLURM stops it soon
    (folder,) = running(outputs)
    wait_for(process, lambda: json.loads((folder / "result.json").read_text())["status"] == "interrupted")
    wait_for(process, lambda: asked("squeue", "--me", "--noheader", "--format=%T").split() == ["PENDING"])
    go.touch()
    asked("scontrol", "update", f"JobId={number}", "TimeLimit=60")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out
    assert "resumes after epoch" in (folder / "train.log").read_text()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("partition=wrok", "hydra.launcher.partition=wrok is not a partition of this cluster: did you mean 'work'?"),
        ("gpus_per_node=8", "SLURM rejected the job: "),
        ("mem_gb=100000", "SLURM rejected the job: "),
    ],
)
def test_what_the_cluster_does_not_have_is_one_message(
    setting: str, words: str, small: list[str], tmp_path: Path
) -> None:
    done = train(tmp_path / "outputs", "-m", "method=lora", "seed=0,1", *small, *SLURM, f"hydra.launcher.{setting}")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {words}")
    assert "Traceback" not in done.stdout
    assert asked("squeue", "--me", "--noheader") == ""


def test_an_interrupt_leaves_the_jobs_in_the_queue_and_the_same_command_waits_no_less(
    begin: Begin, small: list[str], tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    hold, go = held(tmp_path)
    command = ["-m", "method=lora", "seed=0,1", *small, *hold, *SLURM]
    process = begin(outputs, *command)
    wait_for(process, lambda: len(running(outputs)) > 0)
    process.terminate()
    _, err = process.communicate()
    assert process.returncode == 143
    go.touch()
    assert re.search(
        r"^left in SLURM's queue: \d runs?\. List them with squeue --me, or end them with scancel \d+$", err, re.M
    )
    while asked("squeue", "--me", "--noheader"):
        time.sleep(1)
    assert "2 runs: 2 done already" in train(outputs, *command).stdout


if "SLURM_CONF" not in os.environ:
    pytestmark.append(pytest.mark.skip(reason="make test-slurm sets one up"))
