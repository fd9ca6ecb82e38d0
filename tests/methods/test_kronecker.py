"""Test KronA, KronA^B and KronA^B_res against NumPy versions of their equations."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.factor_shapes import budget_shapes, factor_shapes, fit_factors, fitting_shapes, nearest_shapes
from krona.methods.kronecker import Kronecker
from methods import oracles


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(actual: Tensor, expected: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> bool:
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    return bool(np.abs(actual.detach().double().numpy() - expected).max(initial=0) <= 1e-12 * scale)


def filled(branch: Kronecker, seed: int = 3) -> Kronecker:
    for number, parameter in enumerate(branch.parameters()):
        parameter.data = random(*parameter.shape, seed=seed + number)
    return branch.double()


@pytest.mark.parametrize("shape", [[[3, 4], [4, 3]], [[2, 6], [6, 2]], [[12, 1], [1, 12]]])
def test_equation_6_and_its_gate(shape: list[list[int]]) -> None:
    X, ffn = random(5, 12, seed=8), random(5, 12, seed=9)
    for residual, gate in (("scale", lambda s: s), ("sigmoid", lambda s: 1 / (1 + math.exp(-s)))):
        branch = filled(Kronecker(12, 12, kron_factors=shape, scaling=16.0, residual=residual))
        assert branch.residual_scale is not None
        A, B = branch.A.detach().numpy(), branch.B.detach().numpy()
        s_res = gate(branch.residual_scale.item())
        assert close(ffn + branch(X), oracles.eq_6(X.numpy(), ffn.numpy(), A, B, 16.0, s_res))
        assert close(X @ branch.delta().T, oracles.eq_6(X.numpy(), 0 * ffn.numpy(), A, B, 16.0, s_res))


@pytest.mark.parametrize("bias", [0, 1, 2])
@pytest.mark.parametrize("non_linearity", [None, *oracles.SIGMA])
@pytest.mark.parametrize("terms", [1, 2])
def test_biases_and_non_linearities_stand_after_x_b(bias: int, non_linearity: str | None, terms: int) -> None:
    arguments = {"bias": bias, "non_linearity": non_linearity, "terms": terms}
    branch = filled(Kronecker(12, 20, kron_factors=[[3, 4], [4, 5]], scaling=4.0, **arguments))
    X = random(6, 12)
    A, B = (p.detach().numpy().reshape(terms, *p.shape[-2:]) for p in (branch.A, branch.B))
    b_inner = (
        np.zeros((terms, 5)) if branch.inner_bias is None else branch.inner_bias.detach().numpy().reshape(terms, 5)
    )
    b = np.zeros(20) if branch.bias is None else branch.bias.detach().numpy()
    expected = [
        4.0 * (sum(oracles.between_products(x, A[t], B[t], b_inner[t], non_linearity) for t in range(terms)) + b)
        for x in X.numpy()
    ]
    assert close(branch(X), np.array(expected))
    layer = nn.Linear(12, 20, dtype=torch.float64).requires_grad_(False)
    assert close(branch.add_to(layer(X), X) - layer(X), np.array(expected))


def test_start_of_table_4() -> None:
    torch.manual_seed(0)
    kaiming = Kronecker(768, 768, kron_factors=[[32, 24], [24, 32]])
    bound = 1 / math.sqrt(32)  # the fan-in is a1
    assert 0.95 * bound < kaiming.A.abs().max() <= bound
    assert not kaiming.B.any()
    normal = Kronecker(768, 768, kron_factors=[[32, 24], [24, 32]], init="normal")
    for factor in (normal.A, normal.B):
        assert factor.std().item() == pytest.approx(1 / math.sqrt(768), rel=0.1)


@settings(max_examples=40, deadline=None)
@given(d_in=st.integers(1, 60), d_out=st.integers(1, 60))
def test_every_fitting_shape_fits_and_no_other(d_in: int, d_out: int) -> None:
    shapes = fitting_shapes(d_in, d_out)
    assert len(set(shapes)) == len(shapes)
    for a1, a2 in shapes:
        assert factor_shapes([[a1, a2]], d_in, d_out) == ((a1, a2), (d_in // a1, d_out // a2))
    for a1 in range(1, d_in + 2):
        if d_in % a1:
            with pytest.raises(KronaError, match="maps"):
                factor_shapes([[a1, 1], [d_in // a1 or 1, d_out]], d_in, d_out)
    assert all(min(a1, a2, d_in // a1, d_out // a2) >= 2 for a1, a2 in nearest_shapes((2, 3), d_in, d_out))


@pytest.mark.parametrize(
    ("shapes", "layers", "fitted"),
    [
        ([[32, 24], [24, 32]], {(768, 768)}, [[32, 24], [24, 32]]),
        ([[32, 24], [24, 32]], {(192, 192)}, [[16, 12], [12, 16]]),  # named in the backbone's file
        ([[2, 384], [384, 2]], {(512, 512)}, [[2, 256], [256, 2]]),
        ([[48, 16]], {(1024, 4096)}, [[64, 16], [16, 256]]),
        ([[32, 24], [24, 32]], {(576, 576), (576, 192)}, [[32, 24]]),  # layers of different widths share A
        # 16 is not a multiple of 6. In 48 → 16, the ratio nearest to 8/6 is 3/2: (3, 2), (6, 4) and (12, 8) have 134,
        # 56 and 104 parameters.
        ([[8, 6], [6, 8]], {(48, 48), (48, 16)}, [[6, 4]]),
    ],
)
def test_fitted_shapes(shapes: list[list[int]], layers: set[tuple[int, int]], fitted: list[list[int]]) -> None:
    replacements = {"32x24": [16, 12]} if (192, 192) in layers else {}
    assert fit_factors(shapes, layers, replacements) == fitted


def test_shapes_with_as_many_parameters_as_lora_of_rank_1() -> None:
    assert budget_shapes(12) == [(2, 6), (3, 4), (4, 3), (6, 2)]
    assert budget_shapes(12, narrow=6) == [(4, 3), (6, 2)]
    with pytest.raises(KronaError, match="7 → 7"):
        fit_factors([[32, 24], [24, 32]], {(7, 7)}, {})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kron_factors": [[32, 24], [32, 24]]}, ["1024 → 576", "768 → 768", "Tables 17 and 18", "(24, 32)"]),
        ({"kron_factors": [[32, 25], [24, 32]]}, ["768 → 800", "768 → 768", "[[32,24],[24,32]]"]),
        ({"kron_factors": "abc"}, ["[[a1, a2], [b1, b2]]"]),
        ({"kron_factors": [[32, 24]], "bias": 3}, ["method.bias=3", "0 to 2"]),
        ({"kron_factors": [[32, 24]], "non_linearity": "gelu_nw"}, ["method.non_linearity", "mish", "mean 'gelu_new'"]),
        ({"kron_factors": [[32, 24]], "residual": "gate"}, ["method.residual", "sigmoid"]),
    ],
)
def test_mistakes_are_named(arguments: dict[str, object], words: list[str]) -> None:
    with pytest.raises(KronaError) as caught:
        Kronecker(768, 768, **arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_residual_needs_a_square_layer_and_a_matrix_no_bias() -> None:
    with pytest.raises(KronaError, match="768 → 3072"):
        Kronecker(768, 3072, kron_factors=[[32, 24]], residual="scale")
    for arguments, advice in (({"bias": 1}, "bias=0"), ({"non_linearity": "silu"}, "non_linearity=null")):
        with pytest.raises(KronaError, match=advice):
            Kronecker(12, 12, kron_factors=[[3, 4]], **arguments).delta()


@pytest.mark.parametrize(
    "arguments",
    [{}, {"bias": 1, "residual": "scale"}, {"terms": 2, "residual": "sigmoid"}, {"bias": 2}, {"non_linearity": "mish"}],
    ids=str,
)
def test_branches_of_a_place_added_together_are_their_sum(arguments: dict[str, Any]) -> None:
    factors = [[4, 3], [3, 4]]
    branches = [filled(Kronecker(12, 12, kron_factors=factors, scaling=2.0, **arguments), seed) for seed in (3, 5, 7)]
    x, y = (random(2, 5, 12, seed=seed).requires_grad_() for seed in (1, 2))
    weights = [x, y, *(p for branch in branches for p in branch.parameters())]
    first, *others = branches
    together, apart = first.add_to(y, x, *others), y + sum(branch(x) for branch in branches)
    torch.testing.assert_close(together, apart, rtol=1e-9, atol=1e-9)
    for got, wanted in zip(
        torch.autograd.grad(together.square().sum(), weights),
        torch.autograd.grad(apart.square().sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)
