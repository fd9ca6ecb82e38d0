"""Test models that are cast, copied, resized or changed between the insertion and the removal of an adapter."""

import copy
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    T5ForConditionalGeneration,
)

from krona import surgery
from krona.backbones.load import with_own_modules
from krona.methods.bitfit import Bias
from krona.methods.lora import LoRA
from tiny_models import SMALL, tiny
from tiny_t5 import batch, disturb, flags, inserted, logits, refused, restored, same_bits, snapshot, tiny_t5

QV = ["q", "v"]


def in_lightning(model: nn.Module) -> nn.Module:
    module = LightningModule()
    module.model = model
    module.to(torch.float16)
    return model


CASTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "half": lambda m: m.half(),
    "inside another module": lambda m: (nn.Sequential(m).half(), m)[1],
    "in lightning": in_lightning,
}


# The stored original weights


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("method", ["krona", "layer_norm", "full"])
def test_originals_follow_the_model(method: str, cast: str) -> None:
    model = inserted(method)
    disturb(model)
    CASTS[cast](model)
    surgery.take_out(model)
    bare = CASTS[cast](tiny_t5())
    assert same_bits(snapshot(model), snapshot(bare))
    assert torch.equal(logits(model), logits(bare))


@pytest.mark.parametrize("cast", CASTS)
def test_merged_over_weights_follow_the_model(cast: str) -> None:
    model, beside = inserted("krona"), inserted("krona")
    for one in (model, beside):
        disturb(one)
    surgery.merge(model)
    for one in (model, beside):
        CASTS[cast](one)
    surgery.unmerge(model)
    assert same_bits(snapshot(model), snapshot(beside))


def test_a_copy_and_a_pickle_have_their_own_originals() -> None:
    model = inserted("full")
    disturb(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    twins = [copy.deepcopy(model), torch.load(file, weights_only=False), with_own_modules(model)]
    for twin in twins:
        twin.half()
        surgery.take_out(twin)
        assert same_bits(snapshot(twin), snapshot(tiny_t5().half()))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    surgery.take_out(model)
    assert same_bits(snapshot(model), snapshot(tiny_t5()))


@pytest.mark.parametrize("method", ["adapter", "compacter", "krona_b", "krona_b_res", "pa", "krona", "dora"])
def test_an_fp16_t5_whose_wo_stays_in_fp32(method: str, tmp_path: Path) -> None:
    tiny_t5().save_pretrained(tmp_path)
    model = T5ForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float16).eval()
    before = snapshot(model)
    assert {p.dtype for p in model.parameters()} == {torch.float16, torch.float32}
    inserted(method, model)
    whole = inserted(method)
    for one in (model, whole):
        disturb(one, by=0.02)
    torch.testing.assert_close(logits(model).float(), logits(whole), rtol=0.1, atol=0.1)  # fp16 has 11 bits
    model(**batch()).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in surgery.trainable_state(model).values())
    model.half()
    logits(model)
    model.float()
    logits(model)
    surgery.take_out(model)
    was = {name: tensor.half().float() for name, tensor in before.items()}
    assert same_bits(snapshot(model), was)


# Insertion and removal, all or nothing


class NoWeightNorm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.norm(dim=-1, keepdim=True)


def small(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), *modules)


@pytest.mark.parametrize("norm", [NoWeightNorm(), nn.LayerNorm(8, elementwise_affine=False), nn.RMSNorm(8)])
def test_a_norm_without_a_weight_is_skipped(norm: nn.Module) -> None:
    model = small(norm, nn.LayerNorm(8))
    with restored(model):
        surgery.insert(model, LoRA, target_modules=["0"])
        assert "2.weight" in surgery.trainable_state(model)
        disturb(model)


def test_a_branch_at_a_norm_without_a_weight_is_refused() -> None:
    model = small(NoWeightNorm(), nn.GroupNorm(2, 8))
    for place in ("1", "2"):
        refused(model, partial(surgery.insert, model, Bias, target_modules=[place]), "matches no module")


@pytest.mark.parametrize("backbone", [True, False])
def test_a_parameter_of_the_root(backbone: bool) -> None:
    model = small(nn.LayerNorm(8))
    model.logit_scale = nn.Parameter(torch.ones(()))
    with restored(model):
        surgery.insert(model, LoRA, target_modules=["0"], train_backbone=backbone)
        assert ("logit_scale" in surgery.trainable_state(model)) == backbone
        disturb(model)
        surgery.take_out(copy.deepcopy(model))


def test_a_replaced_head_stays_and_the_rest_is_restored() -> None:
    model = tiny("bert")
    before = snapshot(model)
    surgery.insert(model, LoRA, target_modules=["query"], head=["classifier"])
    disturb(model)
    model.classifier = new = nn.Linear(32, 5)
    own = {name: p.clone() for name, p in new.named_parameters()}
    surgery.take_out(model)
    assert model.classifier is new
    assert all(torch.equal(p, own[name]) for name, p in new.named_parameters())
    after = snapshot(model)
    assert all(torch.equal(after[name], before[name]) for name in before if not name.startswith("classifier"))


def test_a_tie_that_was_removed_stays_removed() -> None:
    model = tiny_t5()
    inserted("lora", model)
    disturb(model)
    model.lm_head.weight = head = nn.Parameter(model.lm_head.weight.detach() * 2)
    surgery.take_out(model)
    bare = tiny_t5()
    assert model.lm_head.weight is head
    assert torch.equal(model.shared.weight, bare.shared.weight)
    assert model.encoder.embed_tokens.weight is model.shared.weight


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


@pytest.mark.parametrize("gated", [False, True])
def test_token_embeddings_that_are_resized(gated: bool) -> None:
    model, bare = tiny_t5(gated=gated), tiny_t5(gated=gated)
    inserted("lora", model)
    disturb(model)
    for one in (model, bare):
        torch.manual_seed(3)
        one.resize_token_embeddings(60)
    surgery.take_out(model)
    assert same_bits(snapshot(model), snapshot(bare))
    assert flags(model) == flags(bare)


def test_a_bias_with_two_names_trains() -> None:
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model("bert", **SMALL))
    surgery.insert(model, Bias, target_modules=["cls.predictions.decoder"], train_layer_norms=False)
    assert [*surgery.trainable_state(model)] == ["cls.predictions.bias"]


def test_weights_without_a_floating_point_dtype_are_refused() -> None:
    model = small(nn.LayerNorm(8))
    model[0].weight = nn.Parameter(torch.zeros(8, 8, dtype=torch.int8), requires_grad=False)
    model[0].bias = None
    refused(model, lambda: surgery.insert(model, LoRA, target_modules=["0"]), "no floating-point weights.*int8")
