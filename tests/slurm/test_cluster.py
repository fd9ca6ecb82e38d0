"""Test sweeps on a real SLURM cluster (tests/slurm/setup.sh). Only `make test-slurm` runs these tests."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from krona.runs.folder import RunFolder
from typed_run import PROJECT, start, train

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
SUBMITIT = [
    "hydra/launcher=submitit_slurm",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=2",
    "hydra.launcher.max_num_timeout=3",
]
SCALING = PROJECT / "docs" / "scaling.md"
SAME = ("adapter.safetensors", "predictions.jsonl")


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
    """Return the runs on which a process works, and that have finished two epochs."""
    claimed = [path.parent for path in outputs.glob("*/claim.json") if epochs(path.parent) > 1]
    return [folder for folder in claimed if RunFolder(folder).is_owned()]


def resumed(folder: Path) -> int:
    """Return how often a run was resumed."""
    return (folder / "train.log").read_text().count("resumes after epoch")


def restarts(job: str) -> int:
    """Return how often SLURM has requeued a job. The id of an array stands for all of its jobs; the fewest count."""
    return min(int(count) for count in re.findall(r"Restarts=(\d+)", asked("scontrol", "show", "job", job)))


def the_same(one: Path, other: Path) -> None:
    a, b = (json.loads((folder / "result.json").read_text()) for folder in (one, other))
    assert (a["dev"], a["test"], a["best_epoch"]) == (b["dev"], b["test"], b["best_epoch"])
    assert a["provenance"]["threads"] == b["provenance"]["threads"] == 1
    for name in SAME:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.fixture(autouse=True)
def _empty_queue() -> Iterator[None]:
    """After a test, end its jobs, so that the queue is empty."""
    yield
    while asked("squeue", "--me", "--noheader"):
        asked("scancel", "--me")
        time.sleep(1)


def wait(condition: Callable[[], bool], log: Path) -> None:
    """Wait at most five minutes until a condition is true. It must stay true: SLURM can take seconds to answer."""
    until = time.monotonic() + 300
    while not condition():
        is_lost = time.monotonic() > until or (log.is_file() and not asked("squeue", "--me", "--noheader"))
        assert condition() or not is_lost, log.read_text() if log.is_file() else "no output"
        time.sleep(0.2)


def submit(outputs: Path, *arguments: str, tasks: int) -> Path:
    """Submit the batch script of docs/scaling.md with another command, and return the file of its output."""
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH --array.*?)```", SCALING.read_text(), re.DOTALL)
    script = re.sub(r"#SBATCH --array.*", f"#SBATCH --array=0-{tasks - 1} --cpus-per-task=1 --time=60", script)
    script = re.sub(r"KRONA_OUTPUTS=\S+", f"KRONA_OUTPUTS={outputs}", script)
    command = shlex.join([sys.executable, str(PROJECT / "train.py"), *arguments])
    (file := outputs.parent / "sweep.sh").write_text(script.replace("krona train -m sweeps=table1", command))
    log = outputs.parent / "slurm.log"
    asked("sbatch", f"--output={log}", f"--chdir={outputs.parent}", str(file))
    return log


def test_an_array_with_a_preempted_and_a_requeued_task_gives_the_local_bits(small: list[str], tmp_path: Path) -> None:
    outputs = tmp_path / "slurm"
    hold, go = held(tmp_path)
    tasks = min(int(asked("nproc", "--all")), 4)
    log = submit(outputs, *FOUR, *small, *hold, tasks=tasks)
    wait(lambda: len(running(outputs)) == tasks, log)
    first, *_, last = running(outputs)
    urgent = ["--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 3"]
    asked("sbatch", *urgent)  # preempts all tasks
    wait(lambda: resumed(first) >= 1 and resumed(last) >= 1, log)
    asked("scontrol", "requeue", json.loads((last / "claim.json").read_text())["slurm"][0])
    wait(lambda: resumed(last) >= 2, log)
    go.touch()
    wait(lambda: not asked("squeue", "--me", "--noheader"), log)
    here = train(tmp_path / "here", *FOUR, *small, *hold, timeout_s=600)
    assert here.returncode == 0, here.stderr
    folders = sorted(path.parent for path in outputs.glob("*/result.json"))
    assert len(folders) == 4, log.read_text()
    for folder in folders:
        the_same(folder, tmp_path / "here" / folder.name)


@pytest.mark.parametrize("launcher", ["array", "submitit"])
def test_a_run_past_its_time_limit_is_requeued_and_resumes(launcher: str, small: list[str], tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    hold, go = held(tmp_path)
    command = ["-m", "method=lora", "seed=0,1", *small, *hold]
    if launcher == "array":
        log, process = submit(outputs, *command, tasks=1), None
    else:
        log, process = tmp_path / "no.log", start(outputs, *command, *SUBMITIT)
    wait(lambda: len(running(outputs)) > 0, log)
    folder = running(outputs)[0]
    number = json.loads((folder / "claim.json").read_text())["slurm"][0]
    elapsed = int(asked("squeue", "--noheader", "--format=%M", f"--jobs={number}").strip().split(":")[0])
    asked("scontrol", "update", f"JobId={number}", f"TimeLimit={elapsed + 3}")  # so SLURM soon sends its signal
    wait(lambda: restarts(number) >= 1, log)
    asked("scontrol", "update", f"JobId={number}", "TimeLimit=60")
    wait(lambda: resumed(folder) >= 1, log)
    go.touch()
    if process is not None:
        out, _ = process.communicate()
        assert process.returncode == 0, out
        assert "2 runs: 2 done" in out
    wait(lambda: not asked("squeue", "--me", "--noheader"), log)
    assert {json.loads(path.read_text())["status"] for path in outputs.glob("*/result.json")} == {"done"}


if "SLURM_CONF" not in os.environ:
    pytestmark.append(pytest.mark.skip(reason="make test-slurm sets one up"))
