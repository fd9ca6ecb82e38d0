"""Test adapters under torch.func: gradients of single rows, and vmap."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from krona.kernels.t5_modules import use_fast_modules
from tiny_t5 import batch, disturb, inserted, tiny_t5


@pytest.mark.parametrize(
    "method", ["krona", "krona_b", "krona_b_res", "lora", "adapter", "compacter", "layer_norm", "dora"]
)
def test_gradients_of_single_rows_by_functorch(method: str) -> None:
    model = inserted(method)
    disturb(model)
    rows = batch()
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def loss(weights: Any, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        inputs = {"input_ids": ids[None], "attention_mask": mask[None], "labels": labels[None]}
        return torch.func.functional_call(model, weights, (), inputs).loss

    weights = {name: p.detach() for name, p in own.items()}
    each = (rows["input_ids"], rows["attention_mask"], rows["labels"])
    single = torch.func.grad(loss)(weights, *(values[0] for values in each))
    one = {key: values[:1] for key, values in rows.items()}
    expected = torch.autograd.grad(model(**one).loss, list(own.values()))
    for gradient, wanted in zip(single.values(), expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["krona", "lora"])
def test_vmap_over_rows_of_a_layer(method: str) -> None:
    model = inserted(method)
    disturb(model)
    layer: Any = model.encoder.block[0].layer[0].SelfAttention.q
    x = torch.randn(5, 7, 64)
    torch.testing.assert_close(torch.func.vmap(layer)(x), layer(x))
    torch.testing.assert_close(torch.func.vmap(layer, in_dims=1, out_dims=1)(x), layer(x))


def test_norm_and_dropout_under_functorch() -> None:
    norm = nn.Sequential(copy.deepcopy(tiny_t5().encoder.final_layer_norm), nn.Dropout(0.5))
    plain = copy.deepcopy(norm)
    use_fast_modules(norm)
    norm.train()
    x = torch.randn(4, 64, requires_grad=True)
    dropped = torch.func.vmap(norm, randomness="different")(x)
    assert 0.2 < (dropped == 0).float().mean() < 0.8
    jacobian = torch.func.vmap(torch.func.jacrev(norm.eval()))(x)
    torch.testing.assert_close(jacobian, torch.func.vmap(torch.func.jacrev(plain.eval()))(x))
