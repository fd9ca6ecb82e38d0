"""The Kronecker product ``x (A ⊗ B)`` and its gradients, by the cheapest contraction for the shape (Eq. 2).

Row-major: one token is ``X = x.view(a1, b1)`` and ``Y = Aᵀ X B``. There are five ways to it:

``b_first``  ``Aᵀ (X B)``: one product over all rows, then one batched over tokens; the intermediate is (N, a1, b2).
``a_first``  ``(Aᵀ X) B``: the batched one first; the intermediate is (N, a2, b1).
``b_wide``   ``x (I ⊗ B) (A ⊗ I)``: a LoRA of rank a1·b2. More multiply-adds, but two plain products.
``a_wide``   ``x (A ⊗ I) (I ⊗ B)``: a LoRA of rank a2·b1.
``built``    ``x (A ⊗ B)``, the product built: where A and B are nearly as large as it is.

`krona.kernels.cost_model` picks one by a cost model; ``order=`` overrides it. With a leading dimension on A and B all
functions take the sum over terms ``Σₜ x (Aₜ ⊗ Bₜ)`` in one pass: ``[B₁ … B_T]`` side by side, the Aₜ interleaved.

The gradients of the first two orders are written out (`krona.kernels.gradients`). Where they don't apply
(``torch.compile``, ``torch.func``, autocast, mixed dtypes, no gradient asked for) the plain products run.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.kernels.contractions import product_onto_rows, rows_of, side_by_side, wide_factors
from krona.kernels.cost_model import ORDERS, Order, merging_pays, plan
from krona.kernels.gradients import AddedUpdate, LayerWithUpdate, LowRankUpdate, under_functorch

COMPILED_ROWS = 2048  # under torch.compile the order is for so many: by the rows themselves, some would compile again
FEW_ROWS = 64  # at fewer a low-rank step's cost is Python's, and plain products take less of it


def kron_matmul(x: Tensor, A: Tensor, B: Tensor, *, order: Order | None = None) -> Tensor:
    """``x (A ⊗ B)``: (..., a1·b1) → (..., a2·b2), for A (a1, a2) and B (b1, b2), or (terms, …) for a sum.

    Raises:
        ValueError: shapes that don't fit, integers, an order of no known name.
    """
    order, _ = _planned(x, A, B, order)
    return _product(x, A, B, order, own_gradients=written_out(x, A, B))


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
    """``y + bias + gate · x + x (A ⊗ B)``, the additions inside the product if the kernels have them.

    y (..., d_out), bias (d_out), gate () for a product of equal widths.
    """
    order, _ = _planned(x, A, B, order)
    own_gradients = written_out(x, A, B, y, *(t for t in (bias, gate) if t is not None))
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
    """``layer(x) + x (A ⊗ B)`` for a frozen layer.

    With ``merge`` the product goes into a weight for this step: forward and the input's gradient cost what the layer
    alone costs, and factored contractions remain only for the gradients of A and B. None: if that is cheaper.
    """
    order, pays = _planned(x, A, B, order)
    weight, bias = layer.weight, layer.bias
    if not _frozen(weight, bias) or not written_out(x, A, B, weight):
        return F.linear(x, weight, bias) + _product(x, A, B, order, own_gradients=written_out(x, A, B))
    if order in ("b_wide", "a_wide"):
        return low_rank_linear(layer, x, *wide_factors(A, B, order))
    if order == "built":
        order = "b_first"  # built is what merging does
    merge = pays if merge is None else merge
    out: Tensor = LayerWithUpdate.apply(x, A, B, weight, bias, order, merge)  # type: ignore[no-untyped-call]
    return out


def low_rank_linear(layer: nn.Linear, x: Tensor, U: Tensor, V: Tensor) -> Tensor:
    """``layer(x) + x U V`` for a frozen layer: U (d_in, rank), V (rank, d_out). LoRA, and the wide orders."""
    weight, bias = layer.weight, layer.bias
    few = not torch.compiler.is_compiling() and x.numel() < FEW_ROWS * x.shape[-1]
    if few or not _frozen(weight, bias) or not written_out(x, U, V, weight):
        return F.linear(x, weight, bias) + x @ U @ V
    x2 = rows_of(x)
    out: Tensor = LowRankUpdate.apply(x2, U, V, weight, bias)  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], out.shape[-1])


def written_out(x: Tensor, *others: Tensor) -> bool:
    """Whether the written-out gradients apply: one is needed, and all is of one dtype, runs eagerly and has rows."""
    return (
        torch.is_grad_enabled()
        and x.numel() > 0
        and (x.requires_grad or any(other.requires_grad for other in others))
        and all(other.dtype == x.dtype for other in others)
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled(x.device.type)
        and not under_functorch()
    )


def _product(x: Tensor, A: Tensor, B: Tensor, order: Order, *, own_gradients: bool) -> Tensor:
    """``x (A ⊗ B)`` by a planned order."""
    if order not in ("b_first", "a_first"):
        for factor in wide_factors(A, B, order):
            x = x @ factor
        return x
    if own_gradients:
        out: Tensor = AddedUpdate.apply(x, A, B, None, None, None, order)  # type: ignore[no-untyped-call]
        return out
    y = product_onto_rows(None, rows_of(x), *side_by_side(A, B, order), order)
    return y.view(*x.shape[:-1], A.shape[-1] * B.shape[-1])


def _planned(x: Tensor, A: Tensor, B: Tensor, order: Order | None) -> tuple[Order, bool]:
    """The order for these shapes, and whether merging it into a weight pays; an error if x does not fit."""
    if order not in (None, *ORDERS):
        raise ValueError(f"order={order!r}: expected one of {', '.join(ORDERS)}")
    if not x.is_floating_point():
        raise ValueError(f"a Kronecker product of {str(x.dtype).removeprefix('torch.')} inputs: expected floats")
    training = torch.is_grad_enabled() and (A.requires_grad or B.requires_grad)
    if torch.compiler.is_compiling():  # it does not like caches
        return _plan_for((COMPILED_ROWS, x.shape[-1]), A.shape, B.shape, x.device.type, training, order)
    return _plan_once(x.shape, A.shape, B.shape, x.device.type, training, order)


def _plan_for(
    x: Sequence[int], A: Sequence[int], B: Sequence[int], device: str, training: bool, order: Order | None
) -> tuple[Order, bool]:
    """`_planned` of shapes alone."""
    if len(A) not in (2, 3) or len(B) != len(A) or A[:-2] != B[:-2]:
        raise ValueError(f"factors {tuple(A)} and {tuple(B)}: expected A (a1, a2), B (b1, b2) or as many of each")
    (a1, a2), (b1, b2), rows = A[-2:], B[-2:], math.prod(x[:-1])
    if x[-1] != a1 * b1:
        raise ValueError(f"({a1}, {a2}) ⊗ ({b1}, {b2}) takes inputs {a1 * b1} wide, these are {tuple(x)}")
    terms = A[0] if len(A) == 3 else 1
    if order is None:
        order = plan((a1, a2), (b1, b2), rows=rows, device=device, terms=terms, training=training)
    first: Order = "a_first" if order == "a_first" else "b_first"
    return order, merging_pays((a1, a2), (b1, b2), rows=rows, device=device, terms=terms, order=first)


_plan_once = lru_cache(maxsize=4096)(_plan_for)


def _frozen(weight: Tensor, bias: Tensor | None) -> bool:
    return not weight.requires_grad and (bias is None or not bias.requires_grad)
