"""Test the insertion, switching, merging and removal of adapters, and the errors."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2Model

from krona import surgery
from krona.messages import KronaError
from krona.methods.adapter import Adapter
from krona.methods.kronecker import Kronecker
from krona.methods.lora import LoRA
from krona.methods.parallel_adapter import ParallelAdapter
from krona.surgery.target_modules import match_modules
from tiny_t5 import close, disturb, inserted, logits, refused, restored, tiny_t5

QV = ["q", "v"]


def places(model: nn.Module, *patterns: str) -> list[str]:
    return list(match_modules(model, patterns))


def test_patterns_are_data() -> None:
    model, gated = tiny_t5(), tiny_t5(gated=True)
    assert len(places(model, "q", "v")) == 12  # 6 attention blocks
    assert len(places(model, "SelfAttention")) == 4
    assert len(places(model, "SelfAttention.*")) == 16  # its linear layers, without the embedding
    assert all(".EncDecAttention." in place for place in places(model, "EncDecAttention.q"))
    assert len(places(model, "encoder.*")) == 12
    assert len(places(model, "layer_norm")) == 10  # without the two final LayerNorms
    assert len(places(gated, "wi*")) == 8
    assert places(model, "encoder.block.0.layer.0.SelfAttention.q") == ["encoder.block.0.layer.0.SelfAttention.q"]
    assert places(model, "q", "encoder.block.0.*") == places(model, "encoder.block.0.*", "q")  # the order of the model
    gpt2 = GPT2Model(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=50))
    assert (len(places(gpt2, "h.0.attn.*")), len(places(gpt2, "h.0.*"))) == (2, 4)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("query", ["'query'", "q"]), ("selfattention", ["did you mean 'SelfAttention'?"]), ("wi", ["wi_0", "wi_1"])],
)
def test_a_pattern_without_a_match_lists_near_names(pattern: str, words: list[str]) -> None:
    model = tiny_t5(gated=True)
    with pytest.raises(KronaError) as caught:
        surgery.insert(model, LoRA, target_modules=[pattern])
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("where", ["encoder.block.0.layer.0.SelfAttention", "encoder.block.0.layer.1.DenseReluDense"])
@pytest.mark.parametrize(
    ("placement", "inner_residual"),
    [("parallel", True), ("sequential", True), ("sequential", False)],
)
def test_placements_mean_what_they_say(where: str, placement: Any, inner_residual: bool) -> None:
    """Parallel is f(x) + b(x). Sequential is f(x) + b(f(x)) or b(f(x))."""
    model = tiny_t5().double()
    f = copy.deepcopy(model.get_submodule(where))
    how = {"placement": placement, "inner_residual": inner_residual, "modules_per_target": 2}
    surgery.insert(model, Adapter, target_modules=[where], bottleneck_dim=4, **how)
    disturb(model, by=0.5)
    adapted: Any = model.get_submodule(where)
    b1, b2 = adapted.branches
    x = torch.randn(2, 3, 64).double()

    def out(module: Any, h: torch.Tensor) -> torch.Tensor:
        result = module(h)
        return result[0] if isinstance(result, tuple) else result

    def through(h: torch.Tensor) -> torch.Tensor:
        h = h + b1(h) if inner_residual else b1(h)
        return h + b2(h) if inner_residual else b2(h)

    expected = out(f, x) + b1(x) + b2(x) if placement == "parallel" else through(out(f, x))
    assert close(out(adapted, x), expected)


def test_one_placement_for_each_pattern() -> None:
    model = tiny_t5()
    surgery.insert(model, LoRA, target_modules=["wi", "wo"], placement=["sequential", "parallel"])
    sizes = {n.rsplit(".", 3)[1]: len(p) for n, p in surgery.trainable_state(model).items() if n.endswith(".A")}
    assert sizes == {"wi": 96, "wo": 96}


def test_compacters_rule_is_one_parameter() -> None:
    model = inserted("compacter")
    rules = [key for key in surgery.trainable_state(model) if key.endswith("rule")]
    assert rules == ["encoder.block.0.layer.0.SelfAttention.0.rule"]
    for one in (model, copy.deepcopy(model)):
        branches = [branch for _, adapted in surgery.adapted_modules(one) for branch in adapted.branches]
        assert len(branches) == 8
        assert len({id(branch.rule) for branch in branches}) == 1


def test_adapters_at_a_block_and_inside_it() -> None:
    model = tiny_t5()
    with restored(model):
        surgery.insert(model, LoRA, target_modules=["DenseReluDense", "wi"])
        block = "encoder.block.0.layer.1.DenseReluDense"
        assert {f"{block}.0.A", f"{block}.wi.0.A"} <= {*surgery.adapter_state(model)}
        before = logits(model)
        disturb(model)
        assert not torch.equal(logits(model), before)


def test_merge_in_bf16_sums_in_fp32_and_casts_last() -> None:
    model = tiny_t5().to(torch.bfloat16)
    surgery.insert(model, LoRA, target_modules=QV, scaling=0.3)
    disturb(model, by=0.3)
    name = "encoder.block.0.layer.0.SelfAttention.q"
    adapted: Any = model.get_submodule(name)
    branch, own = adapted.branches[0], adapted.base.weight
    expected = (own.double() + 0.3 * (branch.A.double() @ branch.B.double()).T).to(torch.bfloat16)
    surgery.merge(model)
    # sums in fp32 round 1 of 10,000 values to another bf16 number, and sums in bf16 every third
    assert (adapted.base.weight != expected).float().mean() < 0.005
    torch.testing.assert_close(adapted.base.weight, expected, rtol=2**-7, atol=0)  # one unit of bf16
    surgery.unmerge(model)
    assert adapted.base.weight is own


def test_a_row_of_zeros_merges_with_a_magnitude_and_too_large_values_do_not() -> None:
    model = tiny_t5().double()
    for layer in map(model.get_submodule, places(model, *QV)):
        nn.init.zeros_(layer.get_parameter("weight")[0].detach())
    surgery.insert(model, LoRA, target_modules=QV, magnitude=True)
    beside = logits(model)
    surgery.merge(model)
    assert close(logits(model), beside)
    surgery.take_out(model)
    surgery.insert(model.half(), LoRA, target_modules=QV)
    for parameter in surgery.trainable_state(model).values():
        nn.init.constant_(parameter, 300.0)
    with pytest.raises(KronaError, match=r"NaN, infinite or too large for float16"):
        surgery.merge(model)
    assert not any(adapted.merged for _, adapted in surgery.adapted_modules(model))


@pytest.mark.parametrize("placement", ["parallel", "sequential"])
def test_several_branches_of_a_place_merge_in_their_order(placement: Any) -> None:
    model = tiny_t5().double()
    surgery.insert(model, LoRA, target_modules=["o"], rank=2, placement=placement, modules_per_target=2)
    disturb(model, by=0.3)
    beside = logits(model)
    surgery.merge(model)
    assert close(logits(model), beside)


@pytest.mark.parametrize("branches", [1, 2])
def test_dora_is_its_equation_and_treats_the_norm_as_a_constant(branches: int) -> None:
    model: Any = nn.Sequential(nn.Linear(6, 5)).double()
    options = {"target_modules": ["0"], "modules_per_target": branches, "train_layer_norms": False}
    surgery.insert(model, LoRA, rank=2, scaling=2.0, magnitude=True, **options)
    disturb(model)
    layer, (*factors, m), x = model[0].base, surgery.trainable_state(model).values(), torch.randn(3, 6).double()
    for mode in (False, True, False):
        V = layer.weight + 2.0 * sum((A @ B).T for A, B in zip(factors[::2], factors[1::2], strict=True))
        expected = nn.functional.linear(x, m[:, None] * V / V.detach().norm(dim=1, keepdim=True), layer.bias)
        assert close(model(x), expected)
        gradients = [torch.autograd.grad(y.square().sum(), [*factors, m]) for y in (model(x), expected)]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)
        layer.weight.data *= 1.5  # only the change of the mode shows this write
        model.train(mode)


@pytest.mark.parametrize(
    ("branch", "arguments", "words"),
    [
        (nn.Linear, {"target_modules": QV}, ["Linear", "not a subclass of krona.methods.branch.Branch"]),
        (LoRA, {"target_modules": QV, "placement": ["parallel"] * 3}, ["3 entries", "target_modules has 2"]),
        (Kronecker, {"target_modules": ["wi"], "kron_factors": [[8, 8], [8, 8]]}, ["64 → 64", "64 → 96"]),
        (ParallelAdapter, {"target_modules": QV, "magnitude": True}, [r"Adapter branch .*\. Its update is not linear"]),
        (LoRA, {"target_modules": ["DenseReluDense"], "magnitude": True}, ["magnitude", "DenseReluDense"]),
        (LoRA, {"target_modules": QV, "placement": "sequential", "init": "eva"}, ["method.init=eva needs a linear"]),
        (Kronecker, {"target_modules": QV, "kron_factors": [[8, 8]], "bias": 1, "magnitude": True}, ["bias=0"]),
    ],
)
def test_a_mistake_at_insertion_leaves_the_model_untouched(
    branch: type[nn.Module], arguments: dict[str, Any], words: list[str]
) -> None:
    model = tiny_t5()
    refused(model, lambda: surgery.insert(model, branch, **arguments), *words)
    assert "krona" not in model.__dict__


def test_other_mistakes_leave_the_model_untouched() -> None:
    model = tiny_t5()
    for call in (surgery.take_out, surgery.merge, surgery.unmerge):
        refused(model, partial(call, model), "no adapter in this model")
    inserted("krona", model)
    disturb(model)
    refused(
        model, lambda: surgery.insert(model, LoRA, target_modules=QV), "an adapter in this model already", "take_out"
    )
    refused(model, lambda: surgery.unmerge(model), "No adapter is merged")
    surgery.merge(model)
    refused(model, lambda: surgery.merge(model), "merged already")
    model = tiny_t5()
    surgery.insert(model, LoRA, target_modules=QV, reversible=False)  # without a copy of what trains
    refused(model, lambda: surgery.take_out(model), "reversible=False", "Load the backbone again")


def test_other_names_and_shapes_are_not_copied() -> None:
    model = inserted("krona")
    others = {
        "belong to another method or backbone": inserted("pa"),
        r"\(4, 8\) in these weights": inserted("krona", kron_factors=[[4, 8]], fit_factors="exact"),
    }
    for words, other in others.items():
        weights = surgery.trainable_state(other)
        refused(model, partial(surgery.copy_into, surgery.trainable_state(model), weights), words)
