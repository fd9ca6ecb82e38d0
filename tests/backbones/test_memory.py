"""Test the options that save memory for large backbones: frozen weights in bf16, and gradient checkpointing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from krona import surgery
from krona.adapters.adapter_file import Adapter
from krona.backbones import load
from krona.config.settings import Backbone
from krona.surgery.state import train_in_fp32
from one_job import config, run
from tasks.glue_files import task
from tiny_backbones import SIZES
from tiny_t5 import batch, disturb, inserted, summed_loss

RANDOM = Backbone(name="random", pretrained=False, sizes={**SIZES, "vocab_size": 10_000})


def loaded(settings: Backbone, *, bf16: bool) -> Any:
    return load.load(settings, task("rte"), seed=0, bf16=bf16).model


def test_layer_norms_are_read_as_they_are_and_the_rest_in_bf16(tiny_folder: Path) -> None:
    file = load_file(tiny_folder / "model.safetensors")
    for settings in (Backbone(name="local", path=str(tiny_folder)), RANDOM):
        model = loaded(settings, bf16=True)
        assert {p.dtype for n, p in model.named_parameters() if "layer_norm" not in n} == {torch.bfloat16}
        assert {p.dtype for n, p in model.named_parameters() if "layer_norm" in n} == {torch.float32}
        if settings.path is not None:
            for name, parameter in model.named_parameters():
                assert torch.equal(parameter, file[name].to(parameter.dtype)), name
        assert {p.dtype for p in loaded(settings, bf16=False).parameters()} == {torch.float32}
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("method", ["krona", "dora", "compacter", "bitfit"])
def test_what_trains_is_fp32_and_the_loss_is_near(method: str) -> None:
    whole, half = inserted(method), inserted(method)
    disturb(whole, by=0.05)
    disturb(half, by=0.05)
    for name, parameter in half.named_parameters():
        if not parameter.requires_grad and "layer_norm" not in name:
            parameter.data = parameter.data.bfloat16()
    train_in_fp32(half)
    expected = summed_loss(whole, batch())
    with torch.autocast("cpu", torch.bfloat16):
        loss = summed_loss(half, batch())
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    for parameter in surgery.trainable_state(half).values():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32


def test_a_run_in_bf16_leaves_an_adapter_for_the_backbone_in_fp32_and_for_another_run(
    small: list[str], tiny_folder: Path, tmp_path: Path
) -> None:
    overrides = ["method=dora", *small, "trainer.precision=bf16-frozen"]
    job, _ = run(config(*overrides), tmp_path / "outputs")
    assert (job.state, job.error) == ("done", None)
    path = job.folder / "adapter.safetensors"
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float32}
    model = loaded(Backbone(name="local", path=str(tiny_folder)), bf16=False)
    Adapter.load(path).insert(model)
    assert surgery.count(model).trainable == sum(tensor.numel() for tensor in load_file(path).values())
    assert len((job.folder / "predictions.jsonl").read_text().splitlines()) == 9
    again, _ = run(config(*overrides, "trainer.max_epochs=0", f"init_from={job.folder}"), tmp_path / "outputs")
    copied = load_file(again.folder / "adapter.safetensors")
    assert all(torch.equal(copied[name], tensor) for name, tensor in load_file(path).items())
