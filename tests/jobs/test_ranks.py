"""One run in two gloo processes: the same weights and predictions as in one, no hang, and resume after a kill."""

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
from krona.jobs import start_ranks
from krona.jobs.job import Job
from krona.messages import KronaError
from krona.runs.result import read_result
from krona.training.ranks import RankLostError, Ranks, _buckets, join_ranks, my_rank, num_processes, require_one_launch
from one_job import config, run, typed
from tasks import glue_files
from tiny_backbone import write_backbone
from typed_run import start, train

TWO = "trainer.devices=2"


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """20 steps in one epoch, without dropout; the last batch has one row, dev 4 and test 5."""
    folder = tmp_path_factory.mktemp("two")
    backbone = write_backbone(folder / "backbone")
    values = json.loads((backbone / "config.json").read_text())
    (backbone / "config.json").write_text(json.dumps({**values, "dropout_rate": 0.0}))
    glue_files.write(folder / "rte", "rte", train=77, dev=9)
    return ["method=krona", "trainer.accelerator=cpu", *typed(backbone, folder / "rte"), "trainer.max_epochs=1"]


def run_with(overrides: list[str], outputs: Path, *more: str) -> Job:
    job, _ = run(config(*overrides, *more), outputs)
    assert (job.state, job.error) == ("done", None)
    return job


def predictions(job: Job) -> list[str]:
    return [json.loads(line)["prediction"] for line in (job.folder / "predictions.jsonl").read_text().splitlines()]


def test_two_processes_end_where_one_does(overrides: list[str], tmp_path: Path) -> None:
    # SGD: a gradient of another scale shows. AdamW would hide it, and blow up rounding where a gradient is nearly zero
    plain = [*overrides, "optimizer._target_=torch.optim.SGD", "optimizer.lr=0.5", "optimizer.warmup_steps=0"]
    plain += ["trainer.eval_batch_size=2"]  # dev and test have an odd number of batches
    one = run_with(plain, tmp_path / "one")
    two = run_with(plain, tmp_path / "two", TWO)
    assert one.run_id == two.run_id
    weights, others = (load_file(job.folder / "adapter.safetensors") for job in (one, two))
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, rtol=0, atol=1e-6)
    assert one.result is not None
    assert two.result is not None
    curves = [
        {key: value for key, value in job.result.dev_curve[0].items() if key not in ("examples_per_s", "loss")}
        for job in (one, two)
        if job.result is not None
    ]
    assert curves[0] == curves[1]
    assert (curves[0]["step"], curves[0]["examples_seen"]) == (20, 77)
    assert two.result.dev_curve[0]["loss"] == pytest.approx(one.result.dev_curve[0]["loss"], abs=1e-6)
    assert two.result.provenance["devices"] == 2
    assert predictions(one) == predictions(two)
    assert len(predictions(one)) == 9
    assert sorted(path.name for path in two.folder.iterdir()) == sorted(path.name for path in one.folder.iterdir())
    assert (two.folder / "train.log").read_text().count("  epoch  ") == 1  # one of them speaks


def test_sharded_frozen_weights_change_nothing(overrides: list[str], tmp_path: Path) -> None:
    few = [*overrides, "data.train_rows=5", "trainer.max_epochs=2"]  # the second batch has one row: none for rank 1
    one = run_with(few, tmp_path / "one")
    sharded = ["trainer.strategy=fsdp", "micro_batch_size=1", "trainer.gradient_checkpointing=true"]
    two = run_with([*few, *sharded], tmp_path / "two", TWO)
    weights, others = (load_file(job.folder / "adapter.safetensors") for job in (one, two))
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, rtol=0, atol=1e-6)
    assert predictions(one) == predictions(two)
    headers = [AdapterConfig.read(job.folder / "adapter.safetensors").backbone for job in (one, two)]
    assert headers[0] == headers[1]  # the backbone is known by the same marks
    measured = [job.result.learned for job in (one, two) if job.result is not None]
    assert all(learned is not None for learned in measured)
    assert measured[1]["drift"] == pytest.approx(measured[0]["drift"], rel=1e-2)


def ranks_of(process: "subprocess.Popen[str]") -> dict[int, int]:
    """The processes that are ranks of a run, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (path / "environ").read_bytes().split(b"\0") if parent == process.pid else []
        except OSError:
            continue
        found |= {int(v.removeprefix(b"RANK=")): int(path.name) for v in variables if v.startswith(b"RANK=")}
    return found


def wait_for(what: Any) -> Any:
    while not (found := what()):
        time.sleep(0.05)
    return found


def an_epoch_is_over(outputs: Path) -> bool:
    for path in outputs.glob("*/result.json"):
        if read_result(path).progress.get("epoch", 0) >= 1 and (path.parent / "last.ckpt").is_file():
            return True
    return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="reads /proc")
def test_a_rank_that_is_killed_ends_the_run_with_a_word_and_it_goes_on(overrides: list[str], tmp_path: Path) -> None:
    long = [*overrides, "trainer.max_epochs=30", TWO]
    process = start(tmp_path / "outputs", *long)
    wait_for(lambda: an_epoch_is_over(tmp_path / "outputs"))
    os.kill(ranks_of(process)[1], signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 1, err
    assert "error: process 1 of 2 of this run was killed by signal 9 (SIGKILL)" in err
    assert err.count("error:") == 1
    (path,) = (tmp_path / "outputs").glob("*/result.json")
    assert read_result(path).status == "interrupted"
    assert "another process of this run ended" in str(read_result(path).error)
    done = train(tmp_path / "outputs", *long)
    assert done.returncode == 0, done.stderr
    assert "resumes after epoch" in done.stdout
    assert [row["epoch"] for row in read_result(path).dev_curve] == list(range(1, 31))
    assert not (path.parent / "claim.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="reads /proc")
@pytest.mark.parametrize("who", ["rank 0", "whoever was typed", "SIGTERM"])
def test_however_it_ends_no_process_is_left_and_the_result_is_the_same(
    who: str, overrides: list[str], tmp_path: Path
) -> None:
    long = [*overrides, "trainer.max_epochs=30", TWO]
    whole = run_with(long, tmp_path / "whole")
    process = start(tmp_path / "outputs", *long)
    wait_for(lambda: an_epoch_is_over(tmp_path / "outputs"))
    ranks = ranks_of(process)
    number = signal.SIGTERM if who == "SIGTERM" else signal.SIGKILL
    os.kill(ranks[0] if who == "rank 0" else process.pid, number)
    process.communicate()
    assert process.returncode == {"rank 0": 1, "SIGTERM": 143}.get(who, -signal.SIGKILL)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ranks.values()))
    assert train(tmp_path / "outputs", *long).returncode == 0
    folder = tmp_path / "outputs" / whole.run_id
    assert (folder / "adapter.safetensors").read_bytes() == (whole.folder / "adapter.safetensors").read_bytes()
    assert (folder / "predictions.jsonl").read_bytes() == (whole.folder / "predictions.jsonl").read_bytes()


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
        (["trainer.devices=1000"], "trainer.devices=1000: this machine has"),
        (["trainer.devices=0"], "trainer.devices=0 must be"),
        ([TWO, "batch_size=5"], "batch_size=5 is not divisible by 2 devices. Use batch_size=4 or 6."),
        ([TWO, "batch_size=1"], "batch_size=1 is not divisible by 2 devices. Use batch_size=2."),
        (["trainer.strategy=fsdp"], "sharding needs at least two devices"),
        ([TWO, "trainer.strategy=fsdp", "method=full"], "full freezes nothing, and only frozen weights are sharded"),
        (
            ["trainer.precision=bf16-frozen", "method=full"],
            "full freezes nothing, and trained weights",
        ),
        (["trainer.strategy=deepspeed"], "trainer.strategy='deepspeed' must be 'auto', 'ddp' or 'fsdp'"),
    ],
)
def test_mistakes(
    more: list[str], expected: str, overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krona.jobs.preflight.cpu_count", lambda: 4)
    with pytest.raises(KronaError) as caught:
        run(config(*overrides, *more), tmp_path / "outputs")
    assert expected in str(caught.value)
    assert not (tmp_path / "outputs").exists()


def test_what_the_ranks_said_becomes_the_jobs_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rank-1.log").write_text("Traceback\nCUDA out of memory\n")
    ended: Any = [subprocess.Popen(["true"]), subprocess.Popen(["false"])]
    for process in ended:
        process.wait()
    said = start_ranks._describe_loss(ended, 1, tmp_path)
    assert said.startswith("process 1 of 2 of this run ended with exit code 1: CUDA out of memory.")


def test_messages_are_few_and_of_one_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.training.ranks.BUCKET", 10)
    tensors = [torch.zeros(4), torch.zeros(7), torch.zeros(2), torch.zeros(1, dtype=torch.bfloat16)]
    assert [len(bucket) for bucket in _buckets(tensors)] == [2, 1, 1]
    assert list(_buckets([])) == []
    Ranks().add_up(tensors)  # of a process alone: nothing to exchange
    assert Ranks().gather("x") == ["x"]


def by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 0, "TORCHELASTIC_RUN_ID": "x"}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


def test_ranks_that_never_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.training.ranks.PATIENCE", timedelta(seconds=1))
    by_torchrun(monkeypatch)
    with pytest.raises(RankLostError, match="another process of this run"), join_ranks(devices=2, accelerator="cpu"):
        pass


def test_who_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (my_rank(), num_processes()) == (0, 1)
    require_one_launch(["-m", "seed=0,1"])
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "3")  # as a batch script has it: no rank of anything
    assert num_processes() == 1
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    monkeypatch.setenv("SLURM_PROCID", "2")
    assert (my_rank(), num_processes()) == (2, 3)
    require_one_launch(["seed=0"])
    with pytest.raises(KronaError, match="-m in each of 3 processes"):
        require_one_launch(["-m", "seed=0,1"])
    by_torchrun(monkeypatch)
    assert (my_rank(), num_processes()) == (0, 2)
