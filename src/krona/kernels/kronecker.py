"""Fast Kronecker products ``x (A ⊗ B)`` (Eq. 2), alone or added to the output of a layer.

The layout is row-major. One token is ``X = x.view(a1, b1)``, and its output is ``Y = Aᵀ X B``. The output can be
computed in five orders:

``b_first``
    ``Aᵀ (X B)`` is a product over all rows, followed by a product that is batched over tokens. The intermediate result
    has the shape (N, a1, b2).
``a_first``
    ``(Aᵀ X) B`` starts with the batched product. The intermediate result has the shape (N, a2, b1).
``b_wide``
    ``x (I ⊗ B) (A ⊗ I)`` is like LoRA with rank a1·b2. The two products are unbatched, but need more multiply-adds.
``a_wide``
    ``x (A ⊗ I) (I ⊗ B)`` is like LoRA with rank a2·b1.
``built``
    ``x (A ⊗ B)`` builds the matrix A ⊗ B. This order is fast if a factor is nearly as large as this matrix.

`krona.kernels.cost_model` chooses the order from the shapes, unless the argument ``order`` is given. If A and B have a
leading dimension, every function computes the sum ``Σₜ x (Aₜ ⊗ Bₜ)`` of all terms in one pass.

`krona.kernels.gradients` implements explicit gradients for the first two orders. The functions use plain products if
the explicit gradients cannot be used (``torch.compile``, ``torch.func``, autocast, mixed dtypes) or are not needed.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.kernels.contractions import add_kron_product, flatten_rows, join_terms, wide_factors
from krona.kernels.cost_model import ORDERS, Order, Product
from krona.kernels.gradients import AddedUpdate, LayerWithUpdate, LowRankUpdate, under_functorch

# Under torch.compile the order is chosen for this number of rows. The real number would cause a new compilation for
# each batch.
COMPILED_ROWS = 2048
FEW_ROWS = 64  # with fewer rows, a low-rank step consists mostly of Python time, which plain products reduce


def kron_product(A: Tensor, B: Tensor) -> Tensor:
    """Return ``A ⊗ B`` (Eq. 1), (a1·b1, a2·b2), or the sum ``Σₜ Aₜ ⊗ Bₜ`` for A (T, a1, a2) and B (T, b1, b2).

    Unlike ``torch.kron``, the function accepts transposed factors with a side of 1.
    """
    if A.dim() == 3:
        return torch.stack([kron_product(term_a, term_b) for term_a, term_b in zip(A, B, strict=True)]).sum(0)
    return (A[:, None, :, None] * B[None, :, None, :]).reshape(A.shape[0] * B.shape[0], A.shape[1] * B.shape[1])


def kron_singular_values(A: Tensor, B: Tensor) -> Tensor:
    """Return the singular values of ``A ⊗ B`` in descending order: the products of those of A and of B."""
    products = torch.outer(torch.linalg.svdvals(A), torch.linalg.svdvals(B))
    return torch.sort(products.flatten(), descending=True).values


def with_identity(M: Tensor) -> tuple[Tensor, Tensor]:
    """Return two matrices whose product is M. One of them is the identity of M's smaller dimension."""
    one = torch.eye(min(M.shape), dtype=M.dtype, device=M.device)
    return (M, one) if M.shape[1] <= M.shape[0] else (one, M)


def kron_matmul(x: Tensor, A: Tensor, B: Tensor, *, order: Order | None = None) -> Tensor:
    """Return ``x (A ⊗ B)``, (..., a2·b2).

    Args:
        x: a floating-point tensor (..., a1·b1).
        A: (a1, a2), or (T, a1, a2) for a sum of T products.
        B: (b1, b2), or (T, b1, b2) for a sum of T products.
        order: the contraction order. None chooses the order with the lowest predicted cost.

    Raises:
        ValueError: the shapes do not fit, x has an integer dtype, or the order is unknown.
    """
    order, _ = _choose_order(x, A, B, order)
    return _product(x, A, B, order, own_gradients=own_gradients_apply(x, A, B))


def kron_add(
    y: Tensor,
    x: Tensor,
    A: Tensor,
    B: Tensor,
    *,
    bias: Tensor | None = None,
    gate: Tensor | None = None,
    order: Order | None = None,
) -> Tensor:
    """Return ``y + bias + gate · x + x (A ⊗ B)``, (..., d_out). Where possible, a product also computes the additions.

    Args:
        y: (..., d_out). It is not changed.
        bias: (d_out).
        gate: a scalar tensor. It requires d_in = d_out.
        x, A, B, order: see `kron_matmul`.
    """
    order, _ = _choose_order(x, A, B, order)
    own_gradients = own_gradients_apply(x, A, B, y, *(t for t in (bias, gate) if t is not None))
    if own_gradients and order in ("b_first", "a_first"):
        out: Tensor = AddedUpdate.apply(x, A, B, y, bias, gate, order)  # type: ignore[no-untyped-call]
        return out
    if gate is not None:
        y = torch.addcmul(y, x, gate)
    if bias is not None:
        y = y + bias
    return y + _product(x, A, B, order, own_gradients=own_gradients)


def kron_linear(
    layer: nn.Linear, x: Tensor, A: Tensor, B: Tensor, *, order: Order | None = None, merge: bool | None = None
) -> Tensor:
    """Return ``layer(x) + x (A ⊗ B)`` for a frozen layer.

    Args:
        merge: whether to add the Kronecker product to a copy of the weight in this step. The forward pass and the
            gradient of the input then cost as much as those of the layer alone. Only the gradients of A and B use the
            factors. None means to merge if the predicted cost is lower.
        x, A, B, order: see `kron_matmul`.
    """
    order, pays = _choose_order(x, A, B, order)
    weight, bias = layer.weight, layer.bias
    if not _frozen(weight, bias) or not own_gradients_apply(x, A, B, weight):
        return F.linear(x, weight, bias) + _product(x, A, B, order, own_gradients=own_gradients_apply(x, A, B))
    if order in ("b_wide", "a_wide"):
        return low_rank_linear(layer, x, *wide_factors(A, B, order))
    if order == "built":
        order = "b_first"  # here only merging builds the product
    merge = pays if merge is None else merge
    out: Tensor = LayerWithUpdate.apply(x, A, B, weight, bias, order, merge)  # type: ignore[no-untyped-call]
    return out


def low_rank_linear(layer: nn.Linear, x: Tensor, U: Tensor, V: Tensor) -> Tensor:
    """Return ``layer(x) + x U V`` for a frozen layer, with U (d_in, rank) and V (rank, d_out).

    LoRA and the orders ``b_wide`` and ``a_wide`` use this function.
    """
    weight, bias = layer.weight, layer.bias
    few = not torch.compiler.is_compiling() and x.numel() < FEW_ROWS * x.shape[-1]
    if few or not _frozen(weight, bias) or not own_gradients_apply(x, U, V, weight):
        return F.linear(x, weight, bias) + x @ U @ V
    out: Tensor = LowRankUpdate.apply(flatten_rows(x), U, V, weight, bias)  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], out.shape[-1])


def own_gradients_apply(x: Tensor, *others: Tensor) -> bool:
    """Return whether to use the explicit gradients of `krona.kernels.gradients`.

    The explicit gradients are used if a gradient is needed, x has values, all tensors have the same dtype, and
    neither ``torch.compile`` nor ``torch.func`` nor autocast is active.
    """
    return (
        torch.is_grad_enabled()
        and x.numel() > 0
        and not x.is_meta
        and (x.requires_grad or any(other.requires_grad for other in others))
        and all(other.dtype == x.dtype for other in others)
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled(x.device.type)
        and not under_functorch()
    )


def _product(x: Tensor, A: Tensor, B: Tensor, order: Order, *, own_gradients: bool) -> Tensor:
    if order not in ("b_first", "a_first"):
        for factor in wide_factors(A, B, order):
            x = x @ factor
        return x
    if own_gradients:
        out: Tensor = AddedUpdate.apply(x, A, B, None, None, None, order)  # type: ignore[no-untyped-call]
        return out
    y = add_kron_product(None, flatten_rows(x), *join_terms(A, B, order), order)
    return y.view(*x.shape[:-1], A.shape[-1] * B.shape[-1])


def _choose_order(x: Tensor, A: Tensor, B: Tensor, order: Order | None) -> tuple[Order, bool]:
    """Return the contraction order, and whether merging has a lower predicted cost.

    Raises:
        ValueError: x does not fit the factors, or the order is unknown.
    """
    if order not in (None, *ORDERS):
        raise ValueError(f"order={order!r} is not one of {', '.join(ORDERS)}.")
    if not x.is_floating_point():
        raise ValueError(
            f"A Kronecker product needs floating-point inputs, but the dtype is {str(x.dtype).removeprefix('torch.')}."
        )
    training = torch.is_grad_enabled() and (A.requires_grad or B.requires_grad)
    if torch.compiler.is_compiling():  # torch.compile cannot trace a cache
        return _plan_shapes((COMPILED_ROWS, x.shape[-1]), A.shape, B.shape, x.device.type, training, order)
    return _plan_cached(x.shape, A.shape, B.shape, x.device.type, training, order)


def _plan_shapes(
    x: Sequence[int], A: Sequence[int], B: Sequence[int], device: str, training: bool, order: Order | None
) -> tuple[Order, bool]:
    if len(A) not in (2, 3) or len(B) != len(A) or A[:-2] != B[:-2]:
        raise ValueError(
            f"The factors have the wrong shapes {tuple(A)} and {tuple(B)}. Use (a1, a2) and (b1, b2), or (T, a1, a2) "
            "and (T, b1, b2)."
        )
    (a1, a2), (b1, b2), rows = A[-2:], B[-2:], math.prod(x[:-1])
    if x[-1] != a1 * b1:
        raise ValueError(
            f"({a1}, {a2}) ⊗ ({b1}, {b2}) needs inputs of width {a1 * b1}. The input has the shape {tuple(x)}."
        )
    product = Product((a1, a2), (b1, b2), rows, terms=A[0] if len(A) == 3 else 1, device=device)
    order = product.plan(training=training) if order is None else order
    return order, product.merging_pays("a_first" if order == "a_first" else "b_first")


_plan_cached = lru_cache(maxsize=4096)(_plan_shapes)


def _frozen(weight: Tensor, bias: Tensor | None) -> bool:
    return not weight.requires_grad and (bias is None or not bias.requires_grad)
