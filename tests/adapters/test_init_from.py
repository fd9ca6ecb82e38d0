"""Test runs with init_from: the copied tensors, the notes, and the error messages."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import one_job
import tiny_backbones
from krona.config.compose import Composed
from krona.messages import KronaError
from krona.training.plan import plan_run
from tiny_backbones import write_backbone


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_backbone(folder / "t5")
    write_backbone(folder / "other", seed=1)
    tiny_backbones.write(folder / "bert", "bert")
    return folder


def run(files: Path, *overrides: str, backbone: str = "t5") -> tuple[Path, list[str]]:
    job, said = one_job.run(config(files, *overrides, backbone=backbone), files / "runs")
    assert job.state in ("done", "done already"), said
    assert job.result is not None
    return job.folder, [note for note in job.result.notes if note.startswith("init_from=")]


def config(files: Path, *overrides: str, backbone: str = "t5") -> dict[str, Any]:
    return one_job.config(*one_job.typed(files / backbone, files / "data"), "trainer.max_epochs=1", *overrides)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter.safetensors")


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # of torch, for SHiRA
@pytest.mark.parametrize(
    "words",
    [
        ["method=krona"],
        ["method=peft/shira", "++method.config.r=2"],  # also copies the random indices
        ["method=peft/p_tuning", "++method.config.num_virtual_tokens=4"],
    ],
)
def test_a_run_begins_where_the_other_ended(words: list[str], files: Path) -> None:
    pytest.importorskip("peft")
    first, _ = run(files, *words)
    again, notes = run(files, *words, f"init_from={first}", "optimizer.lr=1e-9")
    before, after = tensors(first), tensors(again)
    assert notes == [f"init_from={first.name}: copied {len(before)} of {len(before)} tensors"]
    assert before.keys() == after.keys()
    assert again != first
    assert all((before[name] - after[name]).abs().max() < 1e-6 for name in before)


def test_the_id_holds_the_content_and_not_the_path(files: Path) -> None:
    first, _ = run(files, "method=krona")
    copied = files / "copied.safetensors"
    shutil.copyfile(first / "adapter.safetensors", copied)

    def run_id(*words: str) -> str:
        return plan_run(Composed(config(files, "method=krona", *words)), files, starts=False).run_id

    ids = {run_id(f"init_from={start}") for start in (first, copied, first / "adapter.safetensors")}
    assert len(ids) == 1
    assert ids != {run_id()}


def test_norms_alone_and_a_head_of_another_task(files: Path) -> None:
    first, _ = run(files, "method=lora")
    _, (note,) = run(files, "method=layer_norm", f"init_from={first}")
    assert note.endswith("copied 12 of 12 tensors")
    first, _ = run(files, "method=lora", backbone="bert")
    mnli = ["task=sample_mnli", "data=sample", "data.path=null", "trainer.max_steps=2"]
    _, (note,) = run(files, "method=lora", *mnli, f"init_from={first}", backbone="bert")
    assert note.endswith("these keep their initial values: classifier.weight; classifier.bias")


def test_a_refused_source_leaves_no_files(files: Path) -> None:
    first, _ = run(files, "method=krona")
    there = {path.name for path in (files / "runs").iterdir()}
    for overrides, words in [
        (["method=lora", f"init_from={first}"], "are Kronecker, but those of this run are LoRA"),
        (["method=krona", "init_from=nowhere"], "No run 'nowhere'"),
    ]:
        with pytest.raises(KronaError, match=re.escape(words)):
            one_job.run(config(files, *overrides), files / "runs")
    assert {path.name for path in (files / "runs").iterdir()} == there


def test_another_backbone_and_another_shape_fail_the_run(files: Path) -> None:
    first, _ = run(files, "method=krona")
    for overrides, backbone, words in [
        (["method=krona"], "other", "was trained on another backbone"),
        (["method=krona", "method.kron_factors=[[2,16]]"], "t5", "None of this run's 24 branch tensors"),
    ]:
        job, _ = one_job.run(config(files, *overrides, f"init_from={first}", backbone=backbone), files / "runs")
        assert job.state == "failed"
        assert words in str(job.error)


def test_a_source_with_more_tensors_is_copied_whole_or_refused(files: Path) -> None:
    first, _ = run(files, "method=pissa", "method.rank=2")
    job, _ = one_job.run(config(files, "method=lora", "method.rank=2", f"init_from={first}"), files / "runs")
    assert job.state == "failed"
    assert f"init_from={first.name} also consists of A0 and B0, which this run does not have" in str(job.error)
    chosen = ["method=lora", "method.rank=2", "+method.init=pissa"]
    again, notes = run(files, *chosen, f"init_from={first}", "optimizer.lr=1e-9")
    assert notes == [f"init_from={first.name}: copied 60 of 60 tensors"]
    before, after = tensors(first), tensors(again)
    assert all((before[name] - after[name]).abs().max() < 1e-6 for name in before)
