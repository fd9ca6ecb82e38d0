"""Test layers that a model uses in an unusual way, such as under two names or with hooks."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from krona import surgery
from krona.methods.lora import LoRA
from tiny_t5 import close, disturb, refused


class Shared(nn.Module):
    """A model that calls one layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 8)
        self.b = self.a

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x))


def test_a_layer_with_two_names_is_adapted_under_both() -> None:
    torch.manual_seed(0)
    model, x = Shared().double(), torch.randn(2, 8).double()
    own, before = model.a, model(x)
    options: dict[str, Any] = {"target_modules": ["a"], "train_layer_norms": False}
    surgery.insert(model, LoRA, **options)
    disturb(model)
    unmerged = model(x)
    assert (unmerged - before).abs().max() > 0.01
    surgery.merge(model)
    assert close(model(x), unmerged)
    surgery.take_out(model)
    assert model.a is model.b is own
    assert torch.equal(model(x), before)
    surgery.insert(model, LoRA, **options)
    surgery.bake(model)
    assert model.a is model.b is own


class Squashed(nn.Linear):
    """A linear layer whose output is not linear, as that of transformers' ``AutoBitLinear``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).tanh()


@pytest.mark.parametrize("call", [surgery.merge, surgery.bake])
def test_a_merge_that_would_change_the_model_is_refused(call: Any) -> None:
    model, x = nn.Sequential(Squashed(8, 8)), torch.randn(3, 8)
    surgery.insert(model, LoRA, target_modules=["0"], train_layer_norms=False)
    disturb(model)
    before = model(x)
    refused(model, partial(call, model), "cannot be merged into 0", r"forward\(\) of Squashed")
    assert torch.equal(model(x), before)
