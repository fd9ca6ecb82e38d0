"""Test every order of the Kronecker product (values, gradients and errors) against the full matrix A ⊗ B."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from krona.kernels import gradients as kron_gradients
from krona.kernels import kronecker
from krona.kernels.cost_model import ORDERS, Order, Product
from krona.kernels.kronecker import kron_add, kron_linear, kron_matmul, low_rank_linear
from krona.surgery.operation_counts import dispatched

SIDE = st.integers(1, 5)
SHAPES = [(4, 3, 3, 5), (1, 4, 4, 2), (4, 1, 2, 3), (2, 2, 2, 2), (6, 5, 1, 2)]  # the last: gradient of A from copies


@pytest.fixture(autouse=True)
def few_rows_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kronecker, "FEW_ROWS", 1)
    monkeypatch.setattr(kron_gradients, "BLOCK", 40)  # two or three tokens in a block; the last block is smaller


def test_a_sum_of_terms_is_the_sum_of_their_products() -> None:
    A, B = torch.randn(3, 2, 5), torch.randn(3, 4, 3)
    expected = torch.kron(A[0], B[0]) + torch.kron(A[1], B[1]) + torch.kron(A[2], B[2])
    torch.testing.assert_close(kronecker.kron_product(A, B), expected)


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


def forms(
    x: Tensor, y: Tensor, layer: nn.Linear, order: Order | None
) -> dict[str, tuple[Callable[..., Tensor], list[Tensor], Tensor]]:
    return {
        "matmul": (lambda x, A, B: kron_matmul(x, A, B, order=order), [x], torch.zeros(())),
        "add": (lambda x, y, A, B: kron_add(y, x, A, B, order=order), [x, y], y),
        "beside": (lambda x, A, B: kron_linear(layer, x, A, B, order=order, merge=False), [x], layer(x)),
        "merged": (lambda x, A, B: kron_linear(layer, x, A, B, order=order, merge=True), [x], layer(x)),
    }


@pytest.mark.parametrize("order", [*ORDERS, None])
@pytest.mark.parametrize("terms", [None, 1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_order_and_its_gradients_in_float64(
    shape: tuple[int, ...], terms: int | None, order: Order | None
) -> None:
    a1, a2, b1, b2 = shape
    A, B = factors(a1, a2, b1, b2, terms)
    layer = nn.Linear(a1 * b1, a2 * b2).double().requires_grad_(False)
    x = torch.randn(2, 3, a1 * b1, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 3, a2 * b2, dtype=torch.float64, requires_grad=True)
    for name, (function, inputs, start) in forms(x, y, layer, order).items():
        expected = start + x @ built(A, B)
        torch.testing.assert_close(function(*inputs, A, B), expected, msg=name)
        with torch.no_grad():
            torch.testing.assert_close(function(*inputs, A, B), expected, msg=name)
        assert torch.autograd.gradcheck(function, (*inputs, A, B), fast_mode=True), name


@pytest.mark.parametrize("order", [*ORDERS, None])
@pytest.mark.parametrize("terms", [None, 2])
@pytest.mark.parametrize("given", ["bias", "gate", "bias gate"])
def test_bias_and_gate_added_with_the_product(given: str, terms: int | None, order: Order | None) -> None:
    A, B = factors(4, 3, 3, 4, terms)
    x, y = (torch.randn(2, 3, 12, dtype=torch.float64, requires_grad=True) for _ in range(2))
    more = {
        name: torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for name, shape in (("bias", (12,)), ("gate", ()))
        if name in given
    }

    def added(x: Tensor, y: Tensor, A: Tensor, B: Tensor, *values: Tensor) -> Tensor:
        return kron_add(y, x, A, B, order=order, **dict(zip(more, values, strict=True)))

    before, inputs = y.detach().clone(), (x, y, A, B, *more.values())
    expected = y + x @ built(A, B) + more.get("bias", 0) + more.get("gate", 0) * x
    torch.testing.assert_close(added(*inputs), expected)
    with torch.no_grad():
        torch.testing.assert_close(added(*inputs), expected)
    torch.testing.assert_close(y, before, rtol=0, atol=0)  # the output of the block is not changed
    assert torch.autograd.gradcheck(added, inputs, fast_mode=True)


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
    A, B = factors(a1, a2, b2, b1, dtype=torch.float32)
    B = B.detach().T.requires_grad_()  # with unusual strides
    x = torch.randn(*leading, a1 * b1)
    if strides == "transposed" and x.dim() > 1:
        x = x.transpose(0, -1).contiguous().transpose(0, -1)
    elif strides == "sliced":
        x = torch.stack([x, x], dim=-1)[..., 0]
    elif strides == "expanded" and leading:
        x = x[:1].expand(x.shape)
    x = x.detach().requires_grad_()
    layer = nn.Linear(a1 * b1, a2 * b2, bias=False).requires_grad_(False)
    for actual, start in (
        (kron_matmul(x, A, B, order=order), 0.0),
        (kron_linear(layer, x, A, B, order=order), layer(x)),
    ):
        expected = start + x @ built(A, B)
        assert actual.shape == expected.shape
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
        gradients = torch.autograd.grad(actual.sum(), [x, A, B])
        for got, wanted in zip(gradients, torch.autograd.grad(expected.sum(), [x, A, B]), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [*ORDERS, None])
def test_bfloat16_to_its_precision(order: Order | None) -> None:
    A, B = factors(4, 3, 3, 5)
    x = torch.randn(6, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = x @ built(A, B)
    actual = kron_matmul(*(tensor.bfloat16() for tensor in (x, A, B)), order=order)
    assert actual.dtype == torch.bfloat16
    assert (actual.double() - expected).abs().max() <= 5e-2 * expected.abs().max()


def test_tensors_without_values() -> None:
    A, B = (factor.to("meta") for factor in factors(4, 3, 3, 5, dtype=torch.float32))
    layer, x = nn.Linear(12, 15, device="meta").requires_grad_(False), torch.randn(70, 12, device="meta")
    assert kron_linear(layer, x, A, B).shape == kron_matmul(x, A, B).shape == (70, 15)
    assert low_rank_linear(layer, x, A.new_ones(12, 2).requires_grad_(), A.new_ones(2, 15)).shape == (70, 15)


def test_a_layer_that_trains_keeps_its_gradient() -> None:
    A, B = factors(2, 3, 2, 2, dtype=torch.float32)
    layer, x = nn.Linear(4, 6), torch.randn(5, 4)
    kron_linear(layer, x, A, B).sum().backward()
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None


def test_no_gradient_for_a_frozen_weight_and_none_for_an_input_without_one() -> None:
    A, B = factors(4, 4, 4, 4, dtype=torch.float32)
    layer = nn.Linear(16, 16, bias=False).requires_grad_(False)
    out = kron_linear(layer, torch.randn(8, 16), A, B, order="b_first", merge=False)
    total = out.sum()
    products = dispatched(total.backward)
    assert layer.weight.grad is None
    # four blocks of two tokens, of each two batched products and two plain ones, and the sum over its tokens for A;
    # none through the layer
    assert (products["bmm"], products["mm"] + products["mv"]) == (8, 12)
    assert products["addmm"] + products["addmm_"] + products["baddbmm_"] == 0


def test_shapes_that_do_not_fit() -> None:
    A, B = torch.randn(4, 3), torch.randn(2, 5)
    with pytest.raises(ValueError, match=r"\(4, 3\) ⊗ \(2, 5\) .* 8\. .* \(7, 9\)"):
        kron_matmul(torch.randn(7, 9), A, B)
    with pytest.raises(ValueError, match=r"floating-point.*int64"):
        kron_matmul(torch.ones(7, 8, dtype=torch.int64), A, B)
    with pytest.raises(ValueError, match=r"\(2, 4, 3\) and \(3, 2, 5\)"):
        kron_matmul(torch.randn(7, 8), torch.randn(2, 4, 3), torch.randn(3, 2, 5))
    with pytest.raises(ValueError, match=r"order='c_first'.*b_first"):
        kron_matmul(torch.randn(7, 8), A, B, order="c_first")  # type: ignore[arg-type]


def test_the_plan_knows_the_paper_s_extremes() -> None:
    assert Product((384, 2), (2, 384), 512).plan() in ("a_first", "a_wide")
    assert Product((2, 384), (384, 2), 512).plan() in ("b_first", "b_wide")
    for shape in ((384, 2), (2, 384)):  # the wrong order took over a hundred times the layer's own time
        costs = Product(shape, (768 // shape[0], 768 // shape[1]), 512).predicted_costs()
        assert max(costs["a_first"], costs["b_first"]) > 50 * min(costs.values())
    assert Product((384, 384), (2, 2), 3200).plan() == "built"


@pytest.mark.parametrize("compiles", [False, True])
@pytest.mark.parametrize(("terms", "counted"), [(None, 1), (3, 3)])
def test_the_order_is_chosen_for_all_rows_and_terms(
    compiles: bool, terms: int | None, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Product] = []
    monkeypatch.setattr(Product, "plan", lambda product, **_: asked.append(product) or "b_first")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiles)
    kronecker._plan_cached.cache_clear()
    A, B = factors(4, 3, 2, 5, terms)
    kron_matmul(torch.randn(7, 6, 8, dtype=torch.float64), A, B)
    kronecker._plan_cached.cache_clear()
    assert asked == [Product((4, 3), (2, 5), kronecker.COMPILED_ROWS if compiles else 42, counted)]


def node(out: Tensor) -> str:
    found = out.grad_fn
    while found is not None and found.name() in ("ViewBackward0", "UnsafeViewBackward0"):
        found = found.next_functions[0][0]
    return "" if found is None else found.name()


def test_explicit_gradients_are_used_where_they_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    A, B = factors(4, 3, 2, 5)
    layer = nn.Linear(8, 15, dtype=torch.float64).requires_grad_(False)
    U, V = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((8, 2), (2, 15)))
    x = torch.randn(40, 8, dtype=torch.float64)
    assert node(kron_matmul(x, A, B, order="b_first")) == "AddedUpdateBackward"
    assert node(kron_linear(layer, x, A, B, order="a_first")) == "LayerWithUpdateBackward"
    assert node(kron_linear(layer, x, A, B, order="b_wide")) == "LowRankUpdateBackward"
    assert node(low_rank_linear(layer, x, U, V)) == "LowRankUpdateBackward"
    assert node(kron_matmul(x, A, B, order="b_wide")) == "MmBackward0"
    assert node(low_rank_linear(nn.Linear(8, 15, dtype=torch.float64), x, U, V)) == "AddBackward0"
    monkeypatch.setattr(kronecker, "FEW_ROWS", 41)
    assert node(low_rank_linear(layer, x, U, V)) == "AddBackward0"
    with torch.no_grad():
        assert node(kron_matmul(x, A, B, order="b_first")) == ""


def test_the_conditions_of_explicit_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    x, frozen, trained = torch.randn(2, 4), torch.randn(4), torch.randn(4, requires_grad=True)
    apply = kronecker.own_gradients_apply
    assert apply(x, frozen, trained)
    assert apply(x.clone().requires_grad_(), frozen)
    assert not apply(x, frozen)
    assert not apply(x[:0], trained)
    assert not apply(x.double(), frozen, trained)
    with torch.no_grad():
        assert not apply(x, trained)
    with torch.autocast("cpu"):
        assert not apply(x, trained)
    assert torch.func.vmap(lambda row: row.new_tensor(apply(row, trained)))(x).tolist() == [0, 0]
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not apply(x, trained)
