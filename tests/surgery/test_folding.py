"""Branches beside a ReLU FFN as a wider FFN: plain transformers loads it, with the same logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import T5ForConditionalGeneration

import tiny_models
from krona import surgery
from krona.backbones.with_method import insert_method
from krona.messages import KronaError
from krona.methods.kronecker import Kronecker
from krona.methods.lora import LoRA
from krona.methods.parallel_adapter import ParallelAdapter
from tiny_models import tiny
from tiny_t5 import disturb, inserted, same_bits, settings, snapshot, tiny_t5, train


@torch.no_grad()
def output(model: Any) -> torch.Tensor:
    return tiny_models.output(model)


def folded_is_equal(model: Any, width: int, folder: Path) -> None:
    expected = output(model)
    folded = surgery.fold(model)
    assert (folded.old_width, folded.new_width) == (96, width)
    assert {(ffn.wi.out_features, ffn.wo.in_features) for ffn in ffns(model)} == {(width, width)}
    assert not list(surgery.adapted_modules(model))
    assert (output(model) - expected).abs().max() <= 1e-5 * expected.abs().max()
    model.save_pretrained(folder)
    loaded, keys = T5ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not [names for names in keys.values() if names]
    assert loaded.config.d_ff == width
    assert torch.equal(output(loaded.eval()), output(model))


def ffns(model: Any) -> list[Any]:
    return [module for module in model.modules() if type(module).__name__ == "T5DenseActDense"]


def without_biases(model: Any) -> Any:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") and ".branches." in name:
                parameter.zero_()
    return model


@pytest.mark.parametrize(
    ("method", "changes", "units"),
    [
        ("pa", {"bottleneck_dim": 5, "scaling": 3.0}, 5),
        ("pa", {"bottleneck_dim": 3, "modules_per_target": 2}, 6),
        ("krona_b", {"bias": 0, "kron_factors": [[16, 8], [4, 8]], "modules_per_target": 1}, 2 * 32),
        ("krona_b", {"bias": 0, "kron_factors": [[8, 8]], "modules_per_target": 2}, 2 * 64),
        ("krona_b", {"bias": 0, "kron_factors": [[16, 2]], "terms": 2, "modules_per_target": 1}, 2 * 2 * 8),
        ("krona_b", {"bias": 0, "kron_factors": [[16, 8]], "non_linearity": "relu", "terms": 2,
                     "modules_per_target": 1}, 2 * 16 * 8),
        ("krona_b_res", {"bias": 0}, 2 * 64),
        ("krona_b_res", {"bias": 1, "residual": "sigmoid"}, 2 * 64),
        ("lora", {"rank": 3, "target_modules": ["DenseReluDense", "q", "v", "wo"]}, 2 * 3),
    ],
)  # fmt: skip
def test_a_wider_ffn_computes_the_same(method: str, changes: dict[str, Any], units: int, tmp_path: Path) -> None:
    model: Any = inserted(method, **changes)
    train(model, steps=3)
    folded_is_equal(without_biases(model), 96 + units, tmp_path)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_ffns_without_a_branch_or_with_a_narrower_one_are_filled_up(tmp_path: Path) -> None:
    model: Any = tiny_t5()
    surgery.insert(model, ParallelAdapter, target_modules=["encoder.block.1.layer.1.DenseReluDense"], bottleneck_dim=7)
    disturb(model)
    folded_is_equal(without_biases(model), 103, tmp_path)
    assert not model.decoder.block[0].layer[2].DenseReluDense.wi.weight[96:].any()


def test_a_half_precision_backbone_keeps_its_dtypes() -> None:
    model: Any = tiny_t5().to(torch.bfloat16)
    for ffn in ffns(model):
        ffn.wo.float()
    surgery.insert(model, Kronecker, target_modules=["DenseReluDense"], kron_factors=[[8, 8]])
    surgery.fold(model)
    assert {(ffn.wi.weight.dtype, ffn.wo.weight.dtype) for ffn in ffns(model)} == {(torch.bfloat16, torch.float32)}


REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "biases": ("t5", "pa", {}, r"DenseReluDense has a down_bias \(largest value .*no biases to hold it.*save_adapter"),
    "a bias": ("t5", "krona_b", {}, r"DenseReluDense has a bias"),
    "after": ("t5", "adapter", {"target_modules": ["DenseReluDense"]}, "a layer after the FFN and not beside it"),
    "compacter": ("t5", "compacter", {"bottleneck_dim": 8}, "a layer after the FFN"),
    "another function": ("t5", "pa", {"non_linearity": "gelu"}, "non-linearity is no ReLU"),
    "nothing": ("t5", "lora", {}, r"no branch beside an FFN: surgery.bake"),
    "an attention": ("t5", "krona_b", {"bias": 0, "target_modules": ["DenseReluDense", "SelfAttention"]},
                     "SelfAttention.*no single weight can hold it"),
    "gated": ("mt5", "krona_b", {"bias": 0}, "is a gated FFN"),
    "several modules": ("bert", "krona_b", {"bias": 0}, "FFN of several modules"),
    "several gated modules": ("llama", "krona_b", {"bias": 0}, "FFN of several modules"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_relu_ffn_holds_is_refused(case: str) -> None:
    kind, method, changes, message = REFUSED[case]
    model: Any = tiny_t5() if kind == "t5" else tiny(kind)
    torch.manual_seed(1)
    insert_method(model, settings(method, **changes), counterparts={})
    disturb(model)
    before, expected = snapshot(model), output(model)
    with pytest.raises(KronaError, match=message):
        surgery.fold(model)
    assert same_bits(snapshot(model), before)
    assert torch.equal(output(model), expected)


def test_gelu_two_adapters_and_a_merged_one_are_refused() -> None:
    model: Any = tiny_t5()
    for ffn in ffns(model):
        ffn.act = torch.nn.GELU()
    surgery.insert(model, LoRA, target_modules=["DenseReluDense"])
    with pytest.raises(KronaError, match="has GELU and no ReLU"):
        surgery.fold(model)
    with pytest.raises(KronaError, match="'other' is not the active one"):
        surgery.fold(model, "other")
    surgery.insert(model, LoRA, target_modules=["q"], name="other")
    with pytest.raises(KronaError, match="there are 2 adapters"):
        surgery.fold(model)
    surgery.take_out(model, "default")
    surgery.merge(model)
    with pytest.raises(KronaError, match=r"'other' is merged.*surgery.unmerge"):
        surgery.fold(model)
