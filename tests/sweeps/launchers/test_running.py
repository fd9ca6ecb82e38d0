"""Test running launchers: each job runs once, a killed job affects no other, and runs resume after a time limit."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from one_job import typed
from typed_run import start, train

EIGHT = ["-m", "method=lora", "seed=0,1,2,3,4,5,6,7", "score_test=false"]


def claims(outputs: Path) -> dict[str, int]:
    """Return a dict from each claimed run to the id of its process."""
    found = {}
    for path in outputs.glob("*/claim.json"):
        try:
            found[path.parent.name] = int(json.loads(path.read_text())["pid"])
        except (OSError, ValueError):  # the claim was released, or is incomplete
            continue
    return found


@pytest.mark.slow
def test_joblib_runs_each_job_once_and_loses_only_a_killed_one(tiny_folder: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    command = [*EIGHT, *typed(tiny_folder, tmp_path / "glue"), "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = start(outputs, *command)
    while not (begun := claims(outputs)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(next(iter(begun.values())), signal.SIGKILL)
    out, err = process.communicate()
    assert (process.returncode, err) == (1, "")
    assert "8 runs: 7 done, 1 failed" in out
    assert re.search(r"seed=\d.*: process \d+ was killed, perhaps for lack of memory\. The same command resumes", out)
    done = {path: path.stat().st_mtime_ns for path in outputs.glob("*/predictions.jsonl")}
    assert len(done) == 7
    again = train(outputs, *command)
    assert (again.returncode, again.stderr) == (0, "")
    assert "8 runs: 1 done, 7 done already" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert not list((outputs / "sweeps").glob("jobs-*"))


@pytest.mark.slow
def test_a_run_at_its_time_limit_resumes_to_the_same_bits(tiny_folder: Path, tmp_path: Path) -> None:
    small = [*typed(tiny_folder, tmp_path / "glue"), "method=lora", "trainer.max_epochs=60"]
    process = start(tmp_path / "told", "-m", *small, "hydra/launcher=submitit_local")
    while not list((tmp_path / "told").glob("*/last.ckpt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    (pid,) = claims(tmp_path / "told").values()
    os.kill(pid, signal.SIGUSR2)  # submitit's controller and SLURM send this signal before the limit
    out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), (out, err)
    assert "1 run: 1 done" in out
    whole = train(tmp_path / "whole", *small)
    assert whole.returncode == 0
    (a,), (b,) = ((tmp_path / name).glob("lora-*") for name in ("told", "whole"))
    assert "resumes after epoch" in (a / "train.log").read_text()
    for name in ("adapter.safetensors", "predictions.jsonl"):
        assert (a / name).read_bytes() == (b / name).read_bytes()
    assert not list((tmp_path / "told" / "sweeps" / ".submitit").glob("*/*"))
