"""Test methods in models that change the output of an adapted layer in place, or reshape it before."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from krona import surgery
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr
from krona.methods.lora import LoRA

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 50}
LED = {
    **{f"{side}_{key}": value for side in ("encoder", "decoder")
       for key, value in {"layers": 1, "attention_heads": 4, "ffn_dim": 48}.items()},
    "d_model": 32, "vocab_size": 50, "attention_window": 4,
}  # fmt: skip
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "falcon": ("dense_4h_to_h", {**SMALL, "ffn_hidden_size": 48, "hidden_dropout": 0.0}),
    "longformer": ("query", {**SMALL, "attention_window": 4}),
    "led": ("query", LED),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("branch", "arguments"), [(Kronecker, {"kron_factors": [[4, 2]]}), (LoKr, {"rank": 16}), (LoRA, {})]
)
def test_a_layer_whose_output_is_changed_in_place_trains(kind: str, branch: Any, arguments: dict[str, Any]) -> None:
    target, sizes = MODELS[kind]
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **sizes))
    surgery.insert(model, branch, **arguments, target_modules=[target], train_layer_norms=False)
    ids = torch.arange(2, 18).view(2, 8)
    model(input_ids=ids)[0].square().sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None for p in trained)
    assert any(p.grad.any() for p in trained if p.grad is not None)
