"""Test every order of the Kronecker product (values and gradients) against the full matrix A ⊗ B."""

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from krona.kernels.kronecker_product import Order, kron_matmul, predict_costs

ORDERS = get_args(Order)
SIDE = st.integers(1, 5)
SHAPES = [(4, 3, 3, 5), (1, 4, 4, 2), (4, 1, 2, 3), (2, 2, 2, 2), (6, 5, 1, 2)]


def factors(
    a1: int, a2: int, b1: int, b2: int, terms: int | None = None, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(a1 + 10 * a2 + 100 * b1 + 1000 * b2)
    stack = () if terms is None else (terms,)
    sides = ((a1, a2), (b1, b2))
    return [torch.randn(*stack, *s, generator=generator, dtype=dtype).requires_grad_() for s in sides]


def built(A: Tensor, B: Tensor) -> Tensor:
    pairs = [(A, B)] if A.dim() == 2 else list(zip(A, B, strict=True))
    plain = torch.contiguous_format  # torch.kron refuses some transposed factors with a side of 1
    products = [torch.kron(a.clone(memory_format=plain), b.clone(memory_format=plain)) for a, b in pairs]
    return torch.stack(products).sum(0)


@pytest.mark.parametrize("order", [*ORDERS, None])
@pytest.mark.parametrize("terms", [None, 1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_order_and_its_first_and_second_derivatives_in_float64(
    shape: tuple[int, ...], terms: int | None, order: Order | None
) -> None:
    a1, a2, b1, b2 = shape
    A, B = factors(a1, a2, b1, b2, terms)
    x = torch.randn(2, 3, a1 * b1, dtype=torch.float64, requires_grad=True)

    def product(x: Tensor, A: Tensor, B: Tensor) -> Tensor:
        return kron_matmul(x, A, B, order=order)

    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(product(x, A, B), x @ built(A, B), rtol=1e-9, atol=1e-9)
    assert torch.autograd.gradcheck(product, (x, A, B), fast_mode=True)
    assert torch.autograd.gradgradcheck(product, (x, A, B), fast_mode=True)


@settings(max_examples=40, deadline=None)
@given(
    sides=st.tuples(SIDE, SIDE, SIDE, SIDE),
    leading=st.lists(st.integers(0, 3), max_size=2),
    order=st.sampled_from([*ORDERS, None]),
    strides=st.sampled_from(["plain", "transposed", "sliced", "expanded"]),
)
def test_any_shape_and_strides(
    sides: tuple[int, int, int, int], leading: list[int], order: Order | None, strides: str
) -> None:
    a1, a2, b1, b2 = sides
    A, B = factors(a1, a2, b2, b1)
    B = B.detach().T.requires_grad_()  # with unusual strides
    x = torch.randn(*leading, a1 * b1).double()
    if strides == "transposed" and x.dim() > 1:
        x = x.transpose(0, -1).contiguous().transpose(0, -1)
    elif strides == "sliced":
        x = torch.stack([x, x], dim=-1)[..., 0]
    elif strides == "expanded" and leading:
        x = x[:1].expand(x.shape)
    x = x.detach().requires_grad_()
    actual, expected = kron_matmul(x, A, B, order=order), x @ built(A, B)
    assert actual.shape == expected.shape
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    gradients = torch.autograd.grad(actual.sum(), [x, A, B])
    for got, wanted in zip(gradients, torch.autograd.grad(expected.sum(), [x, A, B]), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def test_the_cheapest_orders_of_extreme_shapes() -> None:
    def cheapest(costs: dict[Order, float]) -> str:
        return min(costs, key=lambda order: costs[order])

    assert cheapest(predict_costs((384, 2), (2, 384), 512)) in ("a_first", "a_wide")
    assert cheapest(predict_costs((2, 384), (384, 2), 512)) in ("b_first", "b_wide")
    for shape in ((384, 2), (2, 384)):  # the wrong order took over a hundred times the layer's own time
        costs = predict_costs(shape, (768 // shape[0], 768 // shape[1]), 512)
        assert max(costs["a_first"], costs["b_first"]) > 50 * min(costs.values())
    assert cheapest(predict_costs((384, 384), (2, 2), 3200)) == "built"
