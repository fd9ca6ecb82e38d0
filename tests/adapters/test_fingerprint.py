"""Test fingerprints of backbones: casts are accepted, and changed weights raise an error."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import T5ForConditionalGeneration

from krona import surgery
from krona.adapters.adapter_file import Adapter
from krona.methods.lora import LoRA
from tiny_t5 import disturb, inserted, refused, tiny_t5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    model = inserted("krona")
    disturb(model)
    Adapter.of(model).save(tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_an_adapter_of_an_fp32_backbone_loads_on_its_casts(file: Path, tmp_path: Path) -> None:
    tiny_t5().save_pretrained(tmp_path / "t5")
    mixed = T5ForConditionalGeneration.from_pretrained(tmp_path / "t5", dtype=torch.float16)
    for model in (tiny_t5().half(), tiny_t5().bfloat16(), tiny_t5().double(), mixed):
        Adapter.load(file).insert(model)
    other = tiny_t5(seed=5).half()
    refused(other, lambda: Adapter.load(file).insert(other), "another backbone")


def test_an_adapter_of_a_cast_backbone_loads_on_the_whole_one(tmp_path: Path) -> None:
    for cast in (torch.float16, torch.bfloat16):
        model = inserted("krona", tiny_t5().to(cast))
        Adapter.of(model).save(tmp_path / "a.safetensors")
        Adapter.load(tmp_path / "a.safetensors").insert(tiny_t5())
    half = tiny_t5().half()
    refused(half, lambda: Adapter.load(tmp_path / "a.safetensors").insert(half), "in fp32, or pass other_backbone=True")


@pytest.mark.parametrize("cast", [torch.float32, torch.bfloat16, torch.float16])
def test_any_weight_that_changed_is_noticed(file: Path, cast: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    for name in ("shared.weight", "encoder.block.1.layer.1.DenseReluDense.wi.weight"):
        for _ in range(3):
            model = tiny_t5().to(cast)
            weight = model.get_parameter(name).data.view(-1)
            at, to = torch.randint(len(weight), (2,), generator=generator).tolist()
            weight[at] *= 1 + 2 * torch.finfo(cast).eps
            refused(model, partial(Adapter.load(file).insert, model), "another backbone")
            model = tiny_t5().to(cast)
            weight = model.get_parameter(name).data.view(-1)
            weight[[at, to]] = weight[[to, at]]
            refused(model, partial(Adapter.load(file).insert, model), "another backbone")


def test_the_values_of_a_fingerprint() -> None:
    model = nn.ModuleDict({"q": nn.Linear(30, 20), "norm": nn.LayerNorm(20)})
    for p in model.parameters():
        p.data = torch.arange(p.numel()).view(p.shape).sin()
    surgery.insert(model, LoRA, target_modules=["q"])
    found = Adapter.of(model).config.backbone
    assert found is not None
    assert (found.parameters, found.shapes, found.frozen) == (660, "045eb4d9b9b1bfc5", "86021d4c34cb3cfe")
