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

from krona.config.validation import find_argument_problems
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
    x = torch.randn(16, *leading, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).movedim(0, -1)
    expected = case.update(x.numpy(), parameters, arguments)
    np.testing.assert_allclose(branch(x).detach().numpy(), expected, atol=1e-10)
    # The relative rounding errors are 6e-8 and 4e-3. Sums of 16 values, with up to five in a row, enlarge them.
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.2)):
        update = branch.to(dtype)(x.to(dtype))
        assert update.dtype == dtype
        bound = tolerance * max(1.0, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(update.detach().double().numpy(), expected, atol=bound, rtol=0)


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


def test_starts() -> None:
    """The contract checks which outputs do not change at the start."""
    torch.manual_seed(0)
    lora, pa, compacter = LoRA(768, 768), ParallelAdapter(768, 768), Compacter(768, 768)
    compacters = math.sqrt(2) * math.sqrt(6 / (768 // 4 + 1))
    bounds = ((lora.A, 1 / math.sqrt(768)), (pa.down, 1 / math.sqrt(768)), (compacter.down_left, compacters))
    for factor, bound in bounds:
        assert 0.95 * bound < factor.abs().max() <= bound
        assert factor.mean().item() == pytest.approx(0, abs=0.2 * bound)
    adapter = Adapter(768, 768, bottleneck_dim=24)
    for weight, std, tolerance in ((adapter.down, 0.01, 0.05), (adapter.up, 0.01, 0.05), (compacter.rule, 1e-4, 0.25)):
        assert weight.std().item() == pytest.approx(std, rel=tolerance)
    zeros = (lora.B, pa.up, *(bias for one in (adapter, pa) for bias in (one.down_bias, one.up_bias)))
    assert not any(zero.any() for zero in (*zeros, MoKA(768, 768, shapes=SHAPES).gates))


def test_mokas_shapes_are_fitted_or_refused() -> None:
    fitted = MoKA(384, 384, shapes=SHAPES, fit="nearest")
    assert [list(A.shape) for A in fitted.A] == [[2, 192], [12, 64], [24, 32], [32, 24], [48, 16], [192, 4]]
    with pytest.raises(KronaError, match="384"):
        MoKA(384, 384, shapes=SHAPES)
    for wrong in ([], [[32]], [[0, 3]]):
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


@pytest.mark.parametrize(("key", "value"), [("scaling", math.nan), ("scaling", math.inf), ("rank", 2.5)])
def test_numbers_of_a_config_are_checked_by_their_types(key: str, value: float) -> None:
    (problem,) = find_argument_problems(LoRA, "method.", {key: value}, without=("d_in", "d_out"))
    assert f"method.{key}=" in problem
