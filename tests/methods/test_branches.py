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
from krona.methods.branch import Branch
from krona.methods.compacter import Compacter
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr, split_width
from krona.methods.lora import LoRA
from krona.methods.magnitude import merged_norms
from krona.methods.moka import MoKA
from krona.methods.parallel_adapter import ParallelAdapter
from methods.case import BranchCase
from methods.cases import CASES

SHAPES = [[2, 384], [3, 256], [12, 64], [24, 32], [32, 24], [48, 16], [192, 4]]  # Table 9
CASES_BY_CLASS = {case.branch.kind: case.branch for case in CASES.values() if case.branch is not None}
ALL = [(branch, arguments) for branch in CASES_BY_CLASS.values() for arguments in branch.arguments]
LINEAR = [
    (branch, arguments, size) for branch, arguments in ALL if branch.kind.defines("delta") for size in branch.sizes
]


def made(kind: type[nn.Module], d_in: int, d_out: int, **arguments: Any) -> tuple[nn.Module, dict[str, np.ndarray]]:
    """Return a branch in float64 with changed start values, and a dict of its tensors as arrays."""
    branch = kind(d_in, d_out, **arguments).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in branch.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    tensors: dict[str, Any] = dict(branch.named_parameters())
    return branch, {name: p.detach().numpy() for name, p in tensors.items()}


@pytest.mark.parametrize(("case", "arguments"), ALL)
@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (0, 4)])
def test_forward_is_the_equation(case: BranchCase, arguments: dict[str, Any], leading: tuple[int, ...]) -> None:
    branch, parameters = made(case.kind, 16, 16, **arguments)
    x = torch.randn(*leading, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = case.update(x.numpy(), parameters, arguments)
    np.testing.assert_allclose(branch(x).detach().numpy(), expected, atol=1e-10)


@pytest.mark.parametrize(("case", "arguments", "size"), LINEAR)
def test_delta_is_what_forward_does(case: BranchCase, arguments: dict[str, Any], size: tuple[int, int]) -> None:
    d_in, d_out = size
    branch, parameters = made(case.kind, d_in, d_out, **arguments)
    x = np.eye(d_in)
    delta = branch.delta().detach()
    assert delta.shape == (d_out, d_in)
    np.testing.assert_allclose(delta.numpy(), case.update(x, parameters, arguments).T, atol=1e-10)
    assert torch.linalg.matrix_rank(delta) <= branch.update_rank
    layer, one = nn.Linear(d_in, d_out, dtype=torch.float64).requires_grad_(False), torch.eye(d_in).double()
    torch.testing.assert_close(branch.beside(layer, one), layer(one) + delta.T, rtol=1e-9, atol=1e-9)
    if branch.defines("low_rank"):
        left, right = (factor.detach() for factor in branch.low_rank())
        assert branch.update_rank == min(left.shape[1], d_in, d_out)
        np.testing.assert_allclose((left @ right).T, delta, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    drawn=st.sampled_from(ALL),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    leading=st.lists(st.integers(0, 3), max_size=3),
    transposed=st.booleans(),
)
def test_shapes_dtypes_and_strides(
    drawn: tuple[BranchCase, dict[str, Any]], dtype: torch.dtype, leading: list[int], transposed: bool
) -> None:
    branch, _ = made(drawn[0].kind, 16, 16, **drawn[1])
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
    assert not LoKr(768, 768).w1.any()
    assert LoKr(768, 768).w2.any()
    moka = MoKA(768, 768, shapes=SHAPES)
    assert not any(start.any() for start in (moka.gates, *moka.B))


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
    [(branch.kind, *mistake) for branch in CASES_BY_CLASS.values() for mistake in branch.mistakes],
)
def test_mistakes_are_named(kind: type[Branch], arguments: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(KronaError) as caught:
        kind(64, 768, **arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)
