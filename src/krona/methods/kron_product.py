"""The Kronecker product ``x (A ⊗ B)`` and its gradients, by the cheapest contraction for the shape (Eq. 2).

Row-major: one token is ``X = x.view(a1, b1)`` and ``Y = Aᵀ X B``. There are five ways to it:

``b_first``  ``Aᵀ (X B)``: one product over all rows, then one batched over tokens; the intermediate is (N, a1, b2).
``a_first``  ``(Aᵀ X) B``: the batched one first; the intermediate is (N, a2, b1).
``b_wide``   ``x (I ⊗ B) (A ⊗ I)``: a LoRA of rank a1·b2. More multiply-adds, but two plain products.
``a_wide``   ``x (A ⊗ I) (I ⊗ B)``: a LoRA of rank a2·b1.
``built``    ``x (A ⊗ B)``, the product built: where A and B are nearly as large as it is.

`krona.methods.kron_plan` picks one by a cost model; ``order=`` overrides it. With a leading dimension on A and B all
functions take the sum over terms ``Σₜ x (Aₜ ⊗ Bₜ)`` in one pass: ``[B₁ … B_T]`` side by side, the Aₜ interleaved.

The gradients of the first two orders are written out (`krona.methods.kron_gradients`). Where they don't apply
(``torch.compile``, autocast, mixed dtypes, no gradient asked for) the plain products run.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.errors import KronaError
from krona.methods.arguments import choice
from krona.methods.kron_contractions import first_product, second_product, wide_factors
from krona.methods.kron_gradients import FactoredUpdate, LowRankUpdate
from krona.methods.kron_plan import ORDERS, Order, merging_pays, plan


def kron_matmul(x: Tensor, A: Tensor, B: Tensor, *, order: Order | None = None) -> Tensor:
    """``x (A ⊗ B)``: (..., a1·b1) → (..., a2·b2), for A (a1, a2) and B (b1, b2), or (terms, …) for a sum.

    Raises:
        KronaError: shapes that don't fit, integers, an order of no known name.
    """
    A, B, order = _checked(x, A, B, order)
    x2 = rows_of(x)
    y: Tensor
    if order in ("b_first", "a_first"):
        if written_out(x, A, B):
            y = FactoredUpdate.apply(x2, A, B, None, None, None, order, False)  # type: ignore[no-untyped-call]
        else:
            y = second_product(None, first_product(x2, A, B, order), A, B, order)
    else:
        for factor in wide_factors(A, B, order):
            x2 = x2 @ factor
        y = x2
    return y.reshape(*x.shape[:-1], A.shape[2] * B.shape[2])


def kron_add(y: Tensor, x: Tensor, A: Tensor, B: Tensor, *, order: Order | None = None) -> Tensor:
    """``y + x (A ⊗ B)``, the addition inside the last product where the kernels have it."""
    A, B, order = _checked(x, A, B, order)
    if not written_out(x, A, B, y):
        return y + kron_matmul(x, A, B, order=order)
    x2, y2 = rows_of(x), rows_of(y)
    if order in ("b_first", "a_first"):
        out: Tensor = FactoredUpdate.apply(x2, A, B, y2, None, None, order, False)  # type: ignore[no-untyped-call]
    else:
        *first, last = wide_factors(A, B, order)
        for factor in first:
            x2 = x2 @ factor
        out = torch.addmm(y2, x2, last)
    return out.view(y.shape)


def kron_linear(
    layer: nn.Linear, x: Tensor, A: Tensor, B: Tensor, *, order: Order | None = None, merge: bool | None = None
) -> Tensor:
    """``layer(x) + x (A ⊗ B)`` for a frozen layer.

    With ``merge`` the product goes into a weight for this step: forward and the input's gradient cost what the layer
    alone costs, and factored contractions remain only for the gradients of A and B. None: where that pays.
    """
    A, B, order = _checked(x, A, B, order)
    if not _frozen(layer) or not written_out(x, A, B, layer.weight):
        return F.linear(x, layer.weight, layer.bias) + kron_matmul(x, A, B, order=order)
    if order == "built":
        order = "b_first"  # built is what merging does
    if order in ("b_wide", "a_wide"):
        U, V = wide_factors(A, B, order)
        return low_rank_linear(layer, x, U, V)
    x2 = rows_of(x)
    if merge is None:
        merge = _merging_pays(
            tuple(A.shape[1:]), tuple(B.shape[1:]), rows=len(x2), device=x.device.type, terms=len(A), order=order
        )
    out: Tensor = FactoredUpdate.apply(x2, A, B, None, layer.weight, layer.bias, order, merge)  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], out.shape[-1])


def low_rank_linear(layer: nn.Linear, x: Tensor, U: Tensor, V: Tensor) -> Tensor:
    """``layer(x) + x U V`` for a frozen layer: U (d_in, rank), V (rank, d_out). LoRA, and the wide orders."""
    if not _frozen(layer) or not written_out(x, U, V, layer.weight):
        return F.linear(x, layer.weight, layer.bias) + x @ U @ V
    x2 = rows_of(x)
    out: Tensor = LowRankUpdate.apply(x2, U, V, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], out.shape[-1])


_planned, _merging_pays = lru_cache(maxsize=4096)(plan), lru_cache(maxsize=4096)(merging_pays)
FEW_ROWS = 64  # at fewer a step's cost is Python's, and plain products take less of it


def written_out(x: Tensor, *others: Tensor) -> bool:
    """Whether the written-out gradients apply: one is needed, and all is of one dtype, runs eagerly and has rows."""
    return (
        torch.is_grad_enabled()
        and x.numel() >= FEW_ROWS * x.shape[-1]
        and (x.requires_grad or any(other.requires_grad for other in others))
        and all(other.dtype == x.dtype for other in others)
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled(x.device.type)
    )


def _checked(x: Tensor, A: Tensor, B: Tensor, order: Order | None) -> tuple[Tensor, Tensor, Order]:
    """A and B with a leading dimension of terms, and the order; an error where x does not fit."""
    if not x.is_floating_point():
        raise KronaError(f"a Kronecker product of {str(x.dtype).removeprefix('torch.')} inputs: expected floats")
    if A.dim() == 2:
        A, B = A[None], B[None]
    if A.dim() != 3 or B.dim() != 3 or len(A) != len(B):
        raise KronaError(
            f"factors {tuple(A.shape)} and {tuple(B.shape)}: expected A (a1, a2), B (b1, b2) or as many of each"
        )
    if x.shape[-1] != A.shape[1] * B.shape[1]:
        (_, a1, a2), (_, b1, b2) = A.shape, B.shape
        raise KronaError(f"({a1}, {a2}) ⊗ ({b1}, {b2}) takes inputs {a1 * b1} wide, these are {tuple(x.shape)}")
    if order is None:
        rows = x.numel() // x.shape[-1]
        training = torch.is_grad_enabled() and (A.requires_grad or B.requires_grad)
        planned = plan if torch.compiler.is_compiling() else _planned  # the compiler does not like caches
        order = planned(
            tuple(A.shape[1:]), tuple(B.shape[1:]), rows=rows, device=x.device.type, terms=len(A), training=training
        )
    else:
        choice("order", order, ORDERS)
    return A, B, order


def rows_of(x: Tensor) -> Tensor:
    """(..., d) → (N, d), a view where x lies row after row."""
    return x.reshape(x.numel() // x.shape[-1], x.shape[-1]).contiguous()


def _frozen(layer: nn.Linear) -> bool:
    return not layer.weight.requires_grad and (layer.bias is None or not layer.bias.requires_grad)
