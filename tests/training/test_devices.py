"""Test one run in two gloo processes, and the threads, the memory and the notes of a process."""

import csv
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from krona.messages import KronaError
from krona.runs.folder import RunFolder
from krona.runs.processes import my_rank, num_processes, require_one_launch
from krona.runs.result import Result, read_result
from krona.training import devices
from krona.training.devices import bf16_notes, default_threads, keep_freed_memory
from one_job import config, run, typed
from tasks import glue_files
from tiny_backbones import write_backbone
from typed_run import start, train, wait_for

TWO = "trainer.devices=2"
ADALORA = ["method=peft/adalora", "++method.config.init_r=3", "++method.config.target_r=2"]
EACH_STEP = ["trainer.log_every_n_steps=1", "+logger.c._target_=pytorch_lightning.loggers.CSVLogger"]


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return overrides for a run without dropout, because each process draws its own masks."""
    folder = tmp_path_factory.mktemp("two")
    backbone = write_backbone(folder / "backbone", dropout_rate=0.0)
    glue_files.write(folder / "rte", "rte", train=77, dev=9)
    return ["method=krona", "trainer.accelerator=cpu", *typed(backbone, folder / "rte"), "trainer.max_epochs=2"]


def finish(outputs: Path, *words: str) -> tuple[Path, Result, str]:
    """Run a command line that must succeed. Return the run's folder, its result, and the output."""
    done = train(outputs, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = outputs.glob("*/result.json")
    return path.parent, read_result(path), done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "more",
    [
        ["micro_batch_size=1"],
        ["micro_batch_size=1", "++task.class_weights={entailment: 3, not_entailment: 0.5}"],
        ["method=full", "optimizer.gradient_clip=0.1"],
        ["method=lora_ga", "++method.init_rows=5"],
        ADALORA,
        # With a rate of 0.5, the two layers of the prefix encoder multiply rounding errors by up to 40 in twelve steps.
        [
            "method=peft/prefix_tuning",
            "++method.config.num_virtual_tokens=3",
            "++method.config.encoder_hidden_size=8",
            "optimizer.lr=0.05",
        ],
    ],
)
def test_two_processes_have_the_losses_of_one(more: list[str], overrides: list[str], tmp_path: Path) -> None:
    # SGD reveals a wrong scale of the gradient. AdamW would hide it, and amplify rounding errors near zero.
    # The last of 6 batches has one row, so rank 1 has none. Dev has 4 rows, and its batches have different lengths.
    words = [*overrides, *EACH_STEP, "optimizer._target_=torch.optim.SGD", "optimizer.lr=0.5", "keep=all", *more]
    words += ["optimizer.warmup_steps=0", "data.train_rows=21", "trainer.eval_batch_size=2"]
    (one, result, _), (two, other, said) = finish(tmp_path / "1", *words), finish(tmp_path / "2", *words, TWO)
    assert (one.name, other.provenance["devices"]) == (two.name, 2)
    rows = [
        csv.DictReader((folder / "c" / "version_0" / "metrics.csv").read_text().splitlines()) for folder in (one, two)
    ]
    losses = [[float(row["train/step_loss"]) for row in found if row["train/step_loss"]] for found in rows]
    assert len(losses[0]) >= 12
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)  # the sums have another order: some units in the last place
    for row, their in zip(result.dev_curve, other.dev_curve, strict=True):
        assert {key: row[key] for key in ("step", "score", "examples_seen")}.items() <= their.items()
    texts = [(folder / "predictions.jsonl").read_text().splitlines() for folder in (one, two)]
    predictions = [[*map(json.loads, lines)] for lines in texts]
    for own, same in zip(*predictions, strict=True):
        # the weights below differ by 1e-5, which can change the last of a probability's six digits
        assert own.pop("scores") == pytest.approx(same.pop("scores"), abs=1e-5)
        assert own == same
    weights, others = (load_file(folder / "adapter.safetensors") for folder in (one, two))
    for name, tensor in weights.items():
        assert_close(others[name], tensor, rtol=1e-5, atol=1e-6)
    assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())
    assert said.count("  epoch  ") == (two / "train.log").read_text().count("  epoch  ") == 2  # only rank 0 prints


def children_of(pid: int) -> dict[int, int]:
    """Return the process of each rank that torchrun has started."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (path / "environ").read_bytes().split(b"\0") if parent == pid else []
        except OSError:
            continue
        found |= {int(v.removeprefix(b"RANK=")): int(path.name) for v in variables if v.startswith(b"RANK=")}
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="reads /proc")
@pytest.mark.parametrize(
    ("target", "number"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (None, signal.SIGINT), (None, signal.SIGTERM)]
)
def test_a_run_resumes_after_a_signal(target: int | None, number: int, overrides: list[str], tmp_path: Path) -> None:
    words, outputs = [*overrides, "trainer.max_epochs=6", TWO], tmp_path / "outputs"
    process = start(outputs, *words)
    wait_for(process, lambda: list(outputs.glob("*/last.ckpt")))
    ranks = children_of(process.pid)  # torchrun has replaced the first process
    os.kill(process.pid if target is None else ranks[target], number)
    out, err = process.communicate(timeout=100)
    assert process.returncode != 0
    while any(Path(f"/proc/{pid}").exists() for pid in ranks.values()):
        time.sleep(0.05)
    (path,) = outputs.glob("*/result.json")
    assert RunFolder(path.parent).state().state == "interrupted", out + err
    resumed, _, said = finish(outputs, *words)
    assert "The run resumes after epoch" in said
    whole, _, _ = finish(tmp_path / "whole", *words)
    for name in ("adapter.safetensors", "predictions.jsonl"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_run_of_a_sweep_has_its_processes(overrides: list[str], tmp_path: Path) -> None:
    words = [*overrides, "trainer.max_steps=2", "seed=0,1", TWO]
    done = train(tmp_path / "outputs", "-m", *words, timeout_s=280)
    assert done.returncode == 0, done.stderr
    results = [read_result(path) for path in (tmp_path / "outputs").glob("*/result.json")]
    assert [(result.status, result.provenance["devices"]) for result in results] == [("done", 2)] * 2
    assert "2 runs: 2 done" in done.stdout


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["trainer.devices=5"], "trainer.devices=5 is too high, because this machine has 4 cores."),
        (["trainer.precision=bf16-frozen", "method=full"], "changes only frozen weights, but full trains all weights"),
        ([TWO], "A run on several devices needs a process for each device."),  # not started by train.py
    ],
)
def test_mistakes(
    more: list[str], expected: str, overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krona.training.devices.cpu_count", lambda: 4)
    with pytest.raises(KronaError) as caught:
        run(config(*overrides, *more), tmp_path / "outputs")
    assert expected in str(caught.value)
    assert not (tmp_path / "outputs").exists()


def test_the_starter_of_processes_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    def place() -> tuple[int, int]:
        return my_rank(), num_processes()

    assert place() == (0, 1)
    require_one_launch()
    monkeypatch.setenv("SLURM_PROCID", "2")
    monkeypatch.setenv("SLURM_NTASKS", "3")  # a batch script has this variable too, but is not one of the processes
    assert place() == (0, 1)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    assert place() == (2, 3)
    with pytest.raises(KronaError, match="started 3 processes of this sweep"):
        require_one_launch()
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    assert place() == (1, 2)


def test_a_malloc_variable_of_the_user_and_other_systems_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MALLOC_ARENA_MAX", "2")
        assert not keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


def test_the_number_of_threads_before_the_first_run_is_remembered() -> None:
    before = default_threads()
    torch.set_num_threads(before + 1)
    try:
        assert default_threads() == before
    finally:
        torch.set_num_threads(before)


def test_bf16_on_a_cpu_without_its_instructions_gives_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "cpuinfo")
    assert bf16_notes("bf16-mixed", "cpu") == []  # no information
    (tmp_path / "cpuinfo").write_text("flags\t\t: avx2 avx512f\n")
    (note,) = bf16_notes("bf16-mixed", "cpu")
    assert "trainer.precision=bf16-mixed" in note
    assert "32-true" in note
    assert bf16_notes("bf16-frozen", "cpu")
    assert bf16_notes("32-true", "cpu") == bf16_notes("bf16-mixed", "cuda") == []
    (tmp_path / "cpuinfo").write_text("flags\t\t: avx2 avx512_bf16\n")
    assert bf16_notes("bf16-mixed", "cpu") == []


@pytest.mark.slow
def test_the_peak_memory_does_not_depend_on_earlier_runs_of_the_process(tmp_path: Path) -> None:
    wide = write_backbone(tmp_path / "wide", d_model=512, d_ff=4096, d_kv=64)  # about 80 MB of weights
    small = [*typed(wide, tmp_path / "glue"), "task=rte", "trainer.max_steps=1", "score_test=false"]
    peaks: dict[str, list[float]] = {"full": [], "layer_norm": []}
    for order in (["full", "layer_norm"], ["layer_norm", "full"]):
        for method in order:
            job, said = run(config(*small, f"method={method}"), tmp_path / "-".join(order), multirun=True)
            assert job.result is not None, said
            peaks[method].append(job.result.peak_memory["host"])
    assert min(peaks["full"]) > 1.1 * max(peaks["layer_norm"])
    for values in peaks.values():
        assert values[0] == pytest.approx(values[1], rel=0.03)
