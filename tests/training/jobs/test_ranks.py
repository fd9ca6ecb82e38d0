"""Test one run in two gloo processes: the same weights and predictions as in one process, no hang, and resuming."""

import json
import os
import re
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from krona.adapters.adapter import AdapterConfig
from krona.messages import KronaError
from krona.runs.result import read_result
from krona.training.jobs import start_ranks
from krona.training.jobs.job import Job
from krona.training.ranks import RankLostError, join_ranks, my_rank, num_processes, require_one_launch
from one_job import config, finish, run, typed
from tasks import glue_files
from tiny_backbones import write_backbone
from typed_run import start, train, wait_for

TWO = "trainer.devices=2"
LONG = ["trainer.max_epochs=6", TWO]
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="reads /proc")


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return overrides for 20 steps in one epoch without dropout. The last batches have 1, 4 and 5 rows."""
    folder = tmp_path_factory.mktemp("two")
    backbone = write_backbone(folder / "backbone", dropout_rate=0.0)
    glue_files.write(folder / "rte", "rte", train=77, dev=9)
    return ["method=krona", "trainer.accelerator=cpu", *typed(backbone, folder / "rte"), "trainer.max_epochs=1"]


def predictions(job: Job) -> list[str]:
    return [json.loads(line)["prediction"] for line in (job.folder / "predictions.jsonl").read_text().splitlines()]


def assert_same_weights(one: Job, two: Job) -> None:
    weights, others = (load_file(job.folder / "adapter.safetensors") for job in (one, two))
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_two_processes_have_the_result_of_one(overrides: list[str], tmp_path: Path) -> None:
    # SGD reveals a wrong scale of the gradient. AdamW would hide it, and amplify rounding errors of gradients near zero
    plain = [*overrides, "optimizer._target_=torch.optim.SGD", "optimizer.lr=0.5", "optimizer.warmup_steps=0"]
    plain += ["data.train_rows=21", "trainer.eval_batch_size=2"]  # dev and test have an odd number of batches
    one, two = finish(tmp_path / "one", *plain)[0], finish(tmp_path / "two", *plain, TWO)[0]
    assert one.run_id == two.run_id
    assert_same_weights(one, two)
    curves = [dict(job.result.dev_curve[0]) for job in (one, two)]
    losses = [curve.pop("loss") for curve in curves]
    for curve in curves:
        del curve["examples_per_s"]
    assert curves[0] == curves[1]
    assert (curves[0]["step"], curves[0]["examples_seen"]) == (6, 21)
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert two.result.provenance["devices"] == 2
    assert predictions(one) == predictions(two)
    assert len(predictions(one)) == 9
    assert sorted(path.name for path in two.folder.iterdir()) == sorted(path.name for path in one.folder.iterdir())
    assert (two.folder / "train.log").read_text().count("  epoch  ") == 1  # only one of the ranks prints


@pytest.mark.slow
def test_sharded_frozen_weights_change_nothing(overrides: list[str], tmp_path: Path) -> None:
    few = [*overrides, "data.train_rows=5", "trainer.max_epochs=2"]  # the second batch has one row, so rank 1 gets none
    sharded = ["trainer.strategy=fsdp", "micro_batch_size=1", "trainer.gradient_checkpointing=true"]
    one, two = finish(tmp_path / "one", *few)[0], finish(tmp_path / "two", *few, *sharded, TWO)[0]
    assert_same_weights(one, two)
    assert predictions(one) == predictions(two)
    headers = [AdapterConfig.read(job.folder / "adapter.safetensors").backbone for job in (one, two)]
    assert headers[0] == headers[1]  # the fingerprint of the backbone
    assert two.result.learned["drift"] == pytest.approx(one.result.learned["drift"], rel=1e-2)


def ranks_of(process: "subprocess.Popen[str]") -> dict[int, int]:
    """Return a dict from each rank of a run to its process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (path / "environ").read_bytes().split(b"\0") if parent == process.pid else []
        except OSError:
            continue
        found |= {int(v.removeprefix(b"RANK=")): int(path.name) for v in variables if v.startswith(b"RANK=")}
    return found


@pytest.fixture(scope="module")
def whole(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Job:
    return finish(tmp_path_factory.mktemp("whole"), *overrides, *LONG)[0]


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_proc
@pytest.mark.parametrize(
    ("killed", "code"), [("rank 1", 1), ("rank 0", 1), ("parent", -signal.SIGKILL), ("parent by SIGTERM", 143)]
)
def test_a_killed_process_ends_all_and_the_run_resumes(
    killed: str, code: int, overrides: list[str], whole: Job, tmp_path: Path
) -> None:
    long, outputs = [*overrides, *LONG], tmp_path / "outputs"
    process = start(outputs, *long)
    wait_for(process, lambda: list(outputs.glob("*/last.ckpt")))
    ranks = ranks_of(process)
    target = ranks[int(killed[-1])] if killed.startswith("rank") else process.pid
    os.kill(target, signal.SIGTERM if code == 143 else signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == code, err
    while any(Path(f"/proc/{pid}").exists() for pid in ranks.values()):
        time.sleep(0.05)
    folder = outputs / whole.run_id
    if killed == "rank 1":
        assert "error: process 1 of 2 of this run was killed by signal 9 (SIGKILL)" in err
        assert err.count("error:") == 1
        assert read_result(folder / "result.json").status == "interrupted"
        assert "Another process of this run ended" in str(read_result(folder / "result.json").error)
    done = train(outputs, *long)
    assert done.returncode == 0, done.stderr
    assert "resumes after epoch" in done.stdout
    assert not (folder / "claim.json").exists()
    for name in ("adapter.safetensors", "predictions.jsonl"):
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes()


@pytest.mark.slow
def test_a_sweep_is_launched_once(overrides: list[str], tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    done = train(outputs, "-m", *overrides, "trainer.max_steps=2", "seed=0,1", TWO)
    assert done.returncode == 0, done.stderr
    results = [read_result(path) for path in outputs.glob("*/result.json")]
    assert [(result.status, result.provenance["devices"]) for result in results] == [("done", 2)] * 2
    assert done.stdout.startswith("2 runs\n")
    begun = re.findall(r"^[12]/2  (\S+)$", done.stdout, flags=re.MULTILINE)
    assert sorted(begun) == sorted(result.run_id for result in results)
    assert done.stdout.count("  epoch  1/1") == 2


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([TWO, "batch_size=5"], "batch_size=5 is not divisible by 2 devices. Use batch_size=4 or 6."),
        (["trainer.strategy=fsdp"], "trainer.strategy=fsdp needs at least two devices"),
        ([TWO, "trainer.strategy=fsdp", "method=full"], "shards only frozen weights, but full trains all weights"),
        (["trainer.precision=bf16-frozen", "method=full"], "changes only frozen weights, but full trains all weights"),
        (["trainer.strategy=deepspeed"], "trainer.strategy='deepspeed' must be 'auto', 'ddp' or 'fsdp'"),
    ],
)
def test_mistakes(
    more: list[str], expected: str, overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krona.training.jobs.preflight.cpu_count", lambda: 4)
    with pytest.raises(KronaError) as caught:
        run(config(*overrides, *more), tmp_path / "outputs")
    assert expected in str(caught.value)
    assert not (tmp_path / "outputs").exists()


def test_the_last_line_of_a_rank_becomes_the_jobs_error(tmp_path: Path) -> None:
    (tmp_path / "rank-1.log").write_text("Traceback\nCUDA out of memory\n")
    ended: Any = [subprocess.Popen(["true"]), subprocess.Popen(["false"])]
    for process in ended:
        process.wait()
    message = start_ranks._describe_loss(ended, 1, tmp_path)
    assert message.startswith("process 1 of 2 of this run ended with exit code 1: CUDA out of memory.")


def set_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 0, "TORCHELASTIC_RUN_ID": "x"}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


def test_ranks_that_never_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.training.ranks.PATIENCE", timedelta(seconds=1))
    set_torchrun(monkeypatch)
    with pytest.raises(RankLostError, match="Another process of this run"), join_ranks(devices=2, accelerator="cpu"):
        pass


def test_the_starter_of_ranks_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (my_rank(), num_processes()) == (0, 1)
    require_one_launch(["-m", "seed=0,1"])
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "3")  # a batch script has this variable too, but is not a rank
    assert num_processes() == 1
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    monkeypatch.setenv("SLURM_PROCID", "2")
    assert (my_rank(), num_processes()) == (2, 3)
    require_one_launch(["seed=0"])
    with pytest.raises(KronaError, match="started 3 processes of this sweep"):
        require_one_launch(["-m", "seed=0,1"])
    set_torchrun(monkeypatch)
    assert (my_rank(), num_processes()) == (0, 2)
