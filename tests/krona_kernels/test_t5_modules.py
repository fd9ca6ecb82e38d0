"""Test the fast LayerNorm and dropout: outputs, gradients, statistics, and restoring.

The outputs are equal to the bit, because the fast LayerNorm does the same operations as the library.
"""

import itertools
from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.mt5.modeling_mt5 import MT5LayerNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from krona.kernels.t5_modules import LaneDropout, RootMeanSquareNorm, scaled_mask, use_fast_modules

NORMS = (T5LayerNorm, MT5LayerNorm, LlamaRMSNorm, MistralRMSNorm, Qwen2RMSNorm, Qwen3RMSNorm)


def norms(kind: Any = T5LayerNorm, width: int = 24) -> tuple[Any, Any]:
    torch.manual_seed(0)
    plain, quick = kind(width), nn.Sequential(kind(width))
    nn.init.uniform_(plain.weight, 0.5, 1.5)
    quick[0].weight.data.copy_(plain.weight)
    use_fast_modules(quick)
    assert isinstance(quick[0], RootMeanSquareNorm)
    return plain, quick


@pytest.mark.parametrize("shape", [(3, 5, 24), (24,), (0, 24)])
def test_norm_is_the_library_s_to_the_bit_and_its_gradients_to_rounding(shape: tuple[int, ...]) -> None:
    plain, quick = norms()
    x = 3 * torch.randn(shape)
    ours, theirs = (x.clone().requires_grad_(), x.clone().requires_grad_())
    y, expected = quick(ours), plain(theirs)
    assert torch.equal(y, expected)
    g = torch.randn_like(y)
    y.backward(g)
    expected.backward(g)
    # only fp32 has a fast norm: its rounding is 6e-8, in sums of 24 or 15 values below 20
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(quick[0].weight.grad, plain.weight.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [13, 48, 101, 6400])
def test_the_weights_gradient_is_summed_about_as_exactly_as_the_library_s(rows: int) -> None:
    """The rounding errors may differ by a factor of 2, because they depend on the processor.

    A sum of the rows one after the other has ten times the error of the library at 6,400 rows.
    """
    plain, quick = norms(width=64)
    errors = torch.zeros(2, dtype=torch.float64)
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        x, g = torch.randn(2, rows, 64, generator=generator)
        h = x.double() * torch.rsqrt(x.double().pow(2).mean(-1, keepdim=True) + 1e-6)
        exact = (h * (g + seed % 4).double()).sum(0)
        for number, norm in enumerate((plain, quick[0])):
            norm.weight.grad = None
            norm(x).backward(g + seed % 4)
            errors[number] += torch.linalg.vector_norm(norm.weight.grad - exact)
    assert errors[1] <= 2 * errors[0], errors


def test_gradients_under_autocast_are_in_single_precision() -> None:
    plain, quick = norms(width=64)
    x = torch.randn(2, 100, 64)
    gradients = []
    for norm in (plain, quick[0]):
        own = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            norm(own).pow(2).sum().backward()
        gradients.append((own.grad, norm.weight.grad))
    # sums of 200 values in fp32; in bf16, they would differ by 0.4 %
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-4)


def test_a_norm_without_values() -> None:
    _, quick = norms()
    quick.to("meta")(torch.empty(2, 24, device="meta")).sum().backward()


@pytest.mark.parametrize("kind", NORMS)
def test_each_librarys_norm_keeps_its_output_to_the_bit_in_every_mix_of_dtypes(kind: type[nn.Module]) -> None:
    dtypes = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
    for weights, inputs, gradients in itertools.product(dtypes, dtypes, (True, False)):
        plain, quick = norms(kind)
        plain.to(weights), quick.to(weights)
        x = 3 * torch.randn(4, 24, dtype=inputs)
        with torch.set_grad_enabled(gradients):
            y, expected = quick(x.clone().requires_grad_(gradients)), plain(x)
        assert y.dtype == expected.dtype, (weights, inputs)
        assert torch.equal(y, expected), (weights, inputs)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    mask = scaled_mask(torch.empty(1001, 999), 0.1)
    kept = (mask != 0).float()
    assert abs(kept.mean().item() - 0.9) < 1e-3
    assert mask.unique().numel() == 2
    assert abs(mask.max().item() - 1 / 0.9) < 1e-4
    assert abs(mask.mean().item() - 1) < 1e-3
    lanes = kept.flatten()[: 4 * 249_000].view(-1, 4)  # the four numbers from one random word are independent
    assert (lanes.mean(0) - 0.9).abs().max() < 3e-3
    together = torch.corrcoef(lanes.T) - torch.eye(4)
    assert together.abs().max() < 1e-2


def test_dropout_is_a_function_of_the_seed_and_off_in_eval() -> None:
    model = nn.Sequential(nn.Dropout(0.3))
    use_fast_modules(model)
    assert type(model[0]) is LaneDropout
    x = torch.randn(7, 5)
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(model(x))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert torch.equal(model.eval()(x), x)
    assert model.train()(x[:0]).shape == (0, 5)
    for model[0].p in (0.0, 1.0):
        assert torch.equal(model(x), x * (1 - model[0].p))


def test_norm_and_dropout_under_functorch() -> None:
    plain, quick = norms(width=64)
    x = torch.randn(4, 64, requires_grad=True)
    jacobian = torch.func.vmap(torch.func.jacrev(quick))(x)
    torch.testing.assert_close(jacobian, torch.func.vmap(torch.func.jacrev(plain))(x))
    dropout = nn.Sequential(nn.Dropout(0.5))
    use_fast_modules(dropout)
    dropped = torch.func.vmap(dropout, randomness="different")(x)
    assert 0.2 < (dropped == 0).float().mean() < 0.8
