"""Test the other branches: values against NumPy versions of their equations, start values, and error messages."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from krona.messages import KronaError
from krona.methods.adapter import Adapter
from krona.methods.bitfit import Bias
from krona.methods.c3a import C3A
from krona.methods.cdka import CDKA
from krona.methods.compacter import Compacter, sum_of_products
from krona.methods.hira import HiRA
from krona.methods.ia3 import IA3
from krona.methods.kadaptation import KAdaptation
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr, split_width
from krona.methods.lora import LoRA
from krona.methods.magnitude import merged_norms
from krona.methods.miss import MiSS
from krona.methods.moka import MoKA
from krona.methods.monarch import Monarch
from krona.methods.parallel_adapter import ParallelAdapter
from krona.methods.vera import VeRA
from methods import oracles

SHAPES = [[2, 384], [3, 256], [12, 64], [24, 32], [32, 24], [48, 16], [192, 4]]  # Table 9
LINEAR = [
    (Kronecker, {"kron_factors": [[2, 4]], "scaling": 3.0}),
    (Kronecker, {"kron_factors": [[1, 4]], "terms": 3, "scaling": 3.0}),
    (LoRA, {"rank": 2, "scaling": 3.0}),
    (LoKr, {"rank": 8, "alpha": 4.0}),
    (LoKr, {"rank": 1, "alpha": 4.0}),
    (LoKr, {"rank": 1, "alpha": 4.0, "decompose_both": True, "decompose_factor": 4}),
    (MiSS, {"rank": 4, "scaling": 3.0}),
    (MiSS, {"rank": 5, "scaling": 1.0}),  # not a divisor of a width
    (C3A, {"scaling": 3.0}),
    (C3A, {"block_size": 4}),
    (C3A, {"block_size": 1}),
    (Monarch, {"blocks": 2, "scaling": 3.0}),
    (Monarch, {"blocks": 4, "block_rank": 2}),
    (KAdaptation, {"hypercomplex_division": 2, "scaling": 3.0}),
    (KAdaptation, {"hypercomplex_division": 2, "factor_rank": 2}),
    (CDKA, {"alpha": 3.0}),
    (CDKA, {"components": 2, "r1": 4, "r2": 2}),
    (MoKA, {"shapes": [[2, 4], [4, 2]], "scaling": 2.0}),
    (VeRA, {"rank": 3}),
    (HiRA, {"rank": 2, "scaling": 3.0}),
]
ALL = [
    *LINEAR,
    (Bias, {}),
    (IA3, {}),
    *[(Adapter, {"bottleneck_dim": 3, "non_linearity": sigma}) for sigma in oracles.SIGMA],
    (ParallelAdapter, {"bottleneck_dim": 2, "scaling": 16.0}),
    (Compacter, {"hypercomplex_division": 4, "bottleneck_dim": 8, "factor_rank": 2}),  # with full weights
    (Compacter, {"hypercomplex_division": 4, "bottleneck_dim": 8}),  # with the factors
    (Compacter, {"hypercomplex_division": 2, "bottleneck_dim": 8, "factor_rank": 3}),
]


def made(kind: type[nn.Module], d_in: int, d_out: int, **arguments: Any) -> tuple[nn.Module, dict[str, np.ndarray]]:
    """Return a branch in float64 with changed start values, and a dict of its tensors (and HiRA's weight) as arrays."""
    branch = kind(d_in, d_out, **arguments).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in branch.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    tensors: dict[str, Any] = dict(branch.named_parameters())
    if isinstance(branch, VeRA):
        tensors["A"], tensors["B"] = branch.factors()
    if isinstance(branch, HiRA):
        layer = nn.Linear(d_in, d_out, dtype=torch.float64)
        branch.bind(layer)
        tensors["W"] = layer.weight
    return branch, {name: p.detach().numpy() for name, p in tensors.items()}


def expected(kind: type[nn.Module], x: np.ndarray, p: dict[str, np.ndarray], arguments: dict[str, Any]) -> np.ndarray:
    """Return the update of a branch, computed by its equation."""
    if kind is LoRA:
        return arguments["scaling"] * (x @ p["A"] @ p["B"])
    if kind is LoKr:
        W1 = p["w1"] if "w1" in p else p["w1_a"] @ p["w1_b"]
        W2 = p["w2"] if "w2" in p else p["w2_a"] @ p["w2_b"]
        return arguments["alpha"] / arguments["rank"] * (x @ np.kron(W1, W2).T)
    if kind is MiSS:
        return arguments["scaling"] * oracles.summed_parts(x, arguments["rank"]) @ p["D"]
    if kind is C3A:
        return arguments.get("scaling", 1.0) / x.shape[-1] * (x @ oracles.circulant_blocks(p["kernels"]).T)
    if kind is Monarch:
        return arguments.get("scaling", 1.0) * (x @ oracles.monarch(p["R"], p["L"]))
    if kind is KAdaptation:
        return arguments.get("scaling", 1.0) * (x @ oracles.phm_weight(p["rule"], p["u"], p["v"]))
    if kind is CDKA:
        delta = np.sum([np.kron(B, A) for B, A in zip(p["B"], p["A"], strict=True)], axis=0)
        return arguments.get("alpha", 1.0) / math.sqrt(len(p["A"]) * arguments.get("r2", 2)) * (x @ delta.T)
    if kind is Kronecker:
        pairs = zip(p["A"].reshape(-1, *p["A"].shape[-2:]), p["B"].reshape(-1, *p["B"].shape[-2:]), strict=True)
        return arguments["scaling"] * sum(x @ np.kron(A, B) for A, B in pairs)
    if kind is MoKA:
        gates = np.exp(p["gates"]) / np.exp(p["gates"]).sum()
        return arguments["scaling"] * sum(w * (x @ np.kron(p[f"A.{i}"], p[f"B.{i}"])) for i, w in enumerate(gates))
    if kind is VeRA:
        return (x @ p["A"].T * p["d"]) @ p["B"].T * p["b"]
    if kind is HiRA:
        return arguments["scaling"] * x @ (p["W"] * (p["A"] @ p["B"]).T).T
    if kind is Bias:
        return np.broadcast_to(p["bias"], (*x.shape[:-1], len(p["bias"])))
    if kind is IA3:
        return x * p["scale"]
    if kind is Compacter:
        down = oracles.phm_weight(p["rule"], p["down_left"], p["down_right"])
        up = oracles.phm_weight(p["rule"], p["up_left"], p["up_right"])
        return oracles.bottleneck(x, down, p["down_bias"], up, p["up_bias"], "gelu_new")
    sigma = arguments.get("non_linearity", "relu")
    update = oracles.bottleneck(x, p["down"], p["down_bias"], p["up"], p["up_bias"], sigma)
    return arguments.get("scaling", 1.0) * update


@pytest.mark.parametrize(("kind", "arguments"), ALL)
@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (0, 4)])
def test_forward_is_the_equation(kind: type[nn.Module], arguments: dict[str, Any], leading: tuple[int, ...]) -> None:
    branch, parameters = made(kind, 16, 16, **arguments)
    x = torch.randn(*leading, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    np.testing.assert_allclose(branch(x).detach().numpy(), expected(kind, x.numpy(), parameters, arguments), atol=1e-10)


@pytest.mark.parametrize(("kind", "arguments"), LINEAR)
@pytest.mark.parametrize(("d_in", "d_out"), [(12, 20), (20, 12), (16, 16)])
def test_delta_is_what_forward_does(kind: type[nn.Module], arguments: dict[str, Any], d_in: int, d_out: int) -> None:
    branch, parameters = made(kind, d_in, d_out, **arguments)
    x = np.eye(d_in)
    delta = branch.delta().detach()
    assert delta.shape == (d_out, d_in)
    np.testing.assert_allclose(delta.numpy(), expected(kind, x, parameters, arguments).T, atol=1e-10)
    assert torch.linalg.matrix_rank(delta) <= branch.update_rank
    layer, one = nn.Linear(d_in, d_out, dtype=torch.float64).requires_grad_(False), torch.eye(d_in).double()
    torch.testing.assert_close(branch.beside(layer, one), layer(one) + delta.T, rtol=1e-9, atol=1e-9)
    if branch.defines("low_rank"):
        left, right = (factor.detach() for factor in branch.low_rank())
        assert branch.update_rank == min(left.shape[1], d_in, d_out)
        np.testing.assert_allclose((left @ right).T, delta, atol=1e-12)
    if (values := branch.singular_values()) is not None:
        found = np.linalg.svd(delta, compute_uv=False)[: len(values)]
        np.testing.assert_allclose(values.detach()[: len(found)], found, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(ALL),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    leading=st.lists(st.integers(0, 3), max_size=3),
    transposed=st.booleans(),
)
def test_shapes_dtypes_and_strides(
    kind: tuple[type[nn.Module], dict[str, Any]], dtype: torch.dtype, leading: list[int], transposed: bool
) -> None:
    branch, _ = made(kind[0], 16, 16, **kind[1])
    x = torch.randn(*leading, 16, generator=torch.Generator().manual_seed(3))
    reference = branch(x.double()).detach()
    if transposed and x.dim() > 1:
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    update = branch.to(dtype)(x.to(dtype))
    assert update.dtype == dtype
    assert update.shape == reference.shape
    # The relative rounding errors are 6e-8 and 4e-3. Sums of 16 values, with up to five in a row, enlarge them.
    tolerance = (1e-4 if dtype == torch.float32 else 0.2) * max(1.0, float(reference.abs().max()) if x.numel() else 1.0)
    assert torch.allclose(update.double(), reference, atol=tolerance, rtol=0)


def test_starts() -> None:
    torch.manual_seed(0)
    lora = LoRA(768, 768)
    assert 0.95 / math.sqrt(768) < lora.A.abs().max() <= 1 / math.sqrt(768)
    assert not lora.B.any()
    adapter = Adapter(768, 768, bottleneck_dim=24)
    assert adapter.down.std().item() == pytest.approx(0.01, rel=0.05)
    assert adapter.up.std().item() == pytest.approx(0.01, rel=0.05)
    assert not adapter.down_bias.any()
    assert not adapter.up_bias.any()
    pa = ParallelAdapter(768, 768)
    assert 0.95 / math.sqrt(768) < pa.down.abs().max() <= 1 / math.sqrt(768)
    assert not any(p.any() for p in (pa.down_bias, pa.up, pa.up_bias))
    compacter = Compacter(768, 768)
    assert compacter.rule.std().item() == pytest.approx(1e-4, rel=0.25)
    bound = math.sqrt(2) * math.sqrt(6 / (768 // 4 + 1))
    assert 0.95 * bound < compacter.down_left.abs().max() <= bound
    assert compacter.down_left.mean().item() == pytest.approx(0, abs=0.2 * bound)
    assert 0 < compacter(torch.randn(4, 768)).abs().max() < 1e-4
    assert IA3(3, 4).scale.tolist() == [1.0] * 4
    assert not LoKr(768, 768).w1.any()
    assert LoKr(768, 768).w2.any()
    moka, hira, vera = MoKA(768, 768, shapes=SHAPES), HiRA(768, 768), VeRA(8, 8, rank=2)
    assert not any(start.any() for start in (moka.gates, *moka.B, hira.B, vera.b))
    assert vera.d.tolist() == [pytest.approx(0.1)] * 2
    assert vera.factors()[0] is VeRA(8, 8, rank=2).factors()[0]  # layers of equal widths share the frozen matrices
    assert not torch.equal(vera.factors()[0], VeRA(8, 8, rank=2, seed=1).factors()[0])


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_the_frozen_matrices_of_vera_survive_to_empty(device: str) -> None:
    trained, x = VeRA(6, 4, rank=3).to(device), torch.randn(5, 6)
    state = {"d": torch.randn(3), "b": torch.randn(4)}
    trained.to_empty(device="cpu").load_state_dict(state)
    expected = VeRA(6, 4, rank=3)
    expected.load_state_dict(state)
    assert torch.equal(trained(x), expected(x))
    assert torch.equal(trained.double().delta(), expected.double().delta())


def test_hiras_update_has_the_rank_of_the_layer() -> None:
    with pytest.raises(KronaError, match="backbone"):
        HiRA(24, 16).delta()
    branch, _ = made(HiRA, 24, 16, rank=1)
    assert torch.linalg.matrix_rank(branch.delta()) == 16


def test_mokas_shapes_are_fitted_or_refused() -> None:
    fitted = MoKA(384, 384, shapes=SHAPES, fit="nearest")
    assert [list(A.shape) for A in fitted.A] == [[2, 192], [12, 64], [24, 32], [32, 24], [48, 16], [192, 4]]
    with pytest.raises(KronaError, match="384"):
        MoKA(384, 384, shapes=SHAPES)
    for wrong in ([], "32x24", [[32]], [[0, 3]], [32, 24], 5):
        with pytest.raises(KronaError, match=r"shapes|kron_factors"):
            MoKA(384, 384, shapes=wrong, fit="nearest")


@pytest.mark.parametrize("bias", [False, True])
def test_bitfit_adds_its_bias_to_that_of_the_layer(bias: bool) -> None:
    branch, layer, x = Bias(3, 4).double(), nn.Linear(3, 4, bias=bias).double(), torch.randn(2, 3).double()
    nn.init.ones_(branch.bias)
    torch.testing.assert_close(branch.beside(layer, x), layer(x) + 1, rtol=1e-9, atol=1e-9)


def test_compacters_weight_is_a_sum_of_kronecker_products() -> None:
    R, B = torch.randn(3, 2, 4, dtype=torch.float64), torch.randn(3, 5, 2, dtype=torch.float64)
    total = sum(np.kron(r.numpy(), b.numpy()) for r, b in zip(R, B, strict=True))
    np.testing.assert_allclose(sum_of_products(R, B).numpy(), total, atol=1e-12)
    branch, _ = made(Compacter, 64, 64, bottleneck_dim=24)
    down, _ = branch.weights()
    assert torch.linalg.matrix_rank(down) == branch.update_rank == 16


def test_the_rank_of_cdka_is_limited_by_the_smaller_side_of_each_factor() -> None:
    branch = CDKA(8, 8, r1=4, r2=4)  # B (2, 4) and A (4, 2)
    with torch.no_grad():
        branch.B.normal_()
    assert torch.linalg.matrix_rank(branch.delta()) == branch.update_rank == 4


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (LoRA, {"rank": 4, "scaling": 3.0}),
        (LoRA, {"rank": 4, "init": "pissa"}),
        (Kronecker, {"kron_factors": [[8, 4]], "scaling": 3.0}),
        (Kronecker, {"kron_factors": [[8, 4]], "residual": "scale"}),  # through ΔW
        (Kronecker, {"kron_factors": [[2, 4]], "terms": 3}),
        (LoKr, {"rank": 2, "alpha": 4.0, "decompose_both": True, "decompose_factor": 4}),
    ],
)
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])  # of the update, relative to the weight
@pytest.mark.parametrize("transposed", [False, True])
def test_the_norms_without_the_product_are_those_of_the_product(
    kind: type[nn.Module], arguments: dict[str, Any], size: float, transposed: bool
) -> None:
    branch: Any = made(kind, 96, 96, **arguments)[0].float()
    for buffer in branch.buffers():
        nn.init.normal_(buffer)
    weight = nn.Parameter(torch.randn(96, 96, generator=torch.Generator().manual_seed(5)), requires_grad=False)
    W = weight.T if transposed else weight
    with torch.no_grad():
        branch.scaling *= size * float(W.norm() / branch.delta().norm())
    for _ in range(2):
        exact = torch.linalg.vector_norm(W.double() + copy.deepcopy(branch).double().delta(), dim=1)
        assert ((merged_norms(W, [branch]).double() / exact) - 1).abs().max() < 1e-6
        with torch.no_grad():
            weight.mul_(2)  # the norms of the weight are computed again


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 5000), factor=st.sampled_from([-1, 1, 2, 3, 4, 8, 16, 48]))
def test_lokr_splits_a_width_as_peft_does(width: int, factor: int) -> None:
    factorization = pytest.importorskip("peft.tuners.lokr.layer", reason="peft is not installed").factorization
    assert split_width(width, factor) == factorization(width, factor)


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        (LoRA, {"rank": 0}, ["method.rank=0", "1 to 64"]),
        (LoRA, {"rank": 65}, ["method.rank=65", "1 to 64", "64 → 768"]),
        (LoRA, {"rank": 2.5}, ["method.rank=2.5", "whole number"]),
        (LoRA, {"scaling": float("nan")}, ["method.scaling=nan"]),
        (LoRA, {"init": "pisa"}, ["method.init='pisa': did you mean 'pissa'"]),
        (LoRA, {"init": "lora_ga", "rank": 33}, ["from 1 to 32", "2 · rank singular vectors"]),
        (LoRA, {"init": "pissa", "scaling": 0.0}, ["method.init=pissa needs a positive method.scaling, not 0"]),
        (LoRA, {"init": "eva", "init_rows": 0}, ["method.init_rows=0"]),
        (Adapter, {"bottleneck_dim": 0}, ["method.bottleneck_dim=0"]),
        (Adapter, {"non_linearity": "tanh"}, ["method.non_linearity='tanh'", "mish, relu, gelu, gelu_new, silu"]),
        (ParallelAdapter, {"bottleneck_dim": 0}, ["method.bottleneck_dim=0"]),
        (ParallelAdapter, {"scaling": float("inf")}, ["method.scaling=inf"]),
        (Compacter, {"bottleneck_dim": 0}, ["method.bottleneck_dim=0"]),
        (Compacter, {"hypercomplex_division": 5}, ["hypercomplex_division=5", "divisor is 64"]),
        (Compacter, {"bottleneck_dim": 6}, ["bottleneck_dim=6", "hypercomplex_division=4"]),
        (Compacter, {"factor_rank": 9}, ["method.factor_rank=9"]),
        (C3A, {"block_size": 48}, ["method.block_size=48", "64 → 768", "divisor is 64"]),
        (C3A, {"block_size": 0}, ["method.block_size=0"]),
        (Monarch, {"blocks": 3}, ["method.blocks=3", "64 → 768", "divisor is 64"]),
        (Monarch, {"blocks": 16, "block_rank": 5}, ["method.block_rank=5", "1 to 4"]),
        (KAdaptation, {"hypercomplex_division": 5}, ["hypercomplex_division=5", "divisor is 64"]),
        (KAdaptation, {"factor_rank": 17}, ["method.factor_rank=17", "1 to 16"]),
        (CDKA, {"r1": 5}, ["method.r1=5", "output", "64 → 768"]),
        (CDKA, {"r2": 3}, ["method.r2=3", "input", "64 → 768"]),
        (CDKA, {"components": 0}, ["method.components=0"]),
        (MiSS, {"rank": 65}, ["method.rank=65", "1 to 64", "64 → 768"]),
        (MiSS, {"scaling": float("inf")}, ["method.scaling=inf"]),
        (LoKr, {"rank": 0}, ["method.rank=0"]),
        (LoKr, {"alpha": float("nan")}, ["method.alpha=nan"]),
        (LoKr, {"decompose_factor": 0}, ["method.decompose_factor=0", "-1"]),
    ],
)
def test_mistakes_are_named(kind: type[nn.Module], arguments: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(KronaError) as caught:
        kind(64, 768, **arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)
