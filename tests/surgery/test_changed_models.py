"""Test models that are cast, copied, resized or changed between the insertion and the removal of an adapter."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForMaskedLM

from krona import surgery
from krona.methods.bitfit import Bias
from krona.methods.lora import LoRA
from tiny_models import SMALL
from tiny_t5 import disturb, inserted, logits, restored, same_bits, snapshot, tiny_t5

CASTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "half": lambda m: m.half(),
    "inside another module": lambda m: (nn.Sequential(m).half(), m)[1],
}


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize(
    ("method", "merged"), [("krona", False), ("krona_dora", True), ("layer_norm", False), ("full", False)]
)
def test_originals_follow_the_model(method: str, merged: bool, cast: str) -> None:
    model, bare = inserted(method), CASTS[cast](tiny_t5())
    disturb(model)
    if merged:
        surgery.merge(model)
    CASTS[cast](model)
    surgery.take_out(model)
    assert same_bits(snapshot(model), snapshot(bare))
    assert torch.equal(logits(model), logits(bare))


class NoWeightNorm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.norm(dim=-1, keepdim=True)


def test_a_norm_without_a_weight_is_skipped() -> None:
    norms = [NoWeightNorm(), nn.LayerNorm(8, elementwise_affine=False), nn.RMSNorm(8), nn.LayerNorm(8)]
    model = nn.Sequential(nn.Linear(8, 8), *norms)
    with restored(model):
        surgery.insert(model, LoRA, target_modules=["0"])
        assert "4.weight" in surgery.trainable_state(model)
        disturb(model)


def test_tie_weights_after_insertion() -> None:
    model = tiny_t5()
    with restored(model):
        surgery.insert(model, LoRA, target_modules=["q", "lm_head"], train_backbone=True)
        disturb(model)
        expected = logits(model)
        model.tie_weights()
        assert torch.equal(logits(model), expected)
        embedding = model.shared.weight.clone()
        surgery.merge(model)
        assert torch.equal(model.shared.weight, embedding)
        surgery.unmerge(model)
        assert torch.equal(logits(model), expected)
    assert model.lm_head.weight is model.shared.weight


def test_a_bias_with_two_names_trains() -> None:
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model("bert", **SMALL))
    surgery.insert(model, Bias, target_modules=["cls.predictions.decoder"], train_layer_norms=False)
    assert [*surgery.trainable_state(model)] == ["cls.predictions.bias"]
