"""The Kronecker product ``x (A ⊗ B)`` and its gradients, by the cheapest contraction for the shape (Eq. 2).

Row-major: one token is ``X = x.view(a1, b1)`` and ``Y = Aᵀ X B``. There are five ways to it:

``b_first``  ``Aᵀ (X B)``: one product over all rows, then one batched over tokens; the intermediate is (N, a1, b2).
``a_first``  ``(Aᵀ X) B``: the batched one first; the intermediate is (N, a2, b1).
``b_wide``   ``x (I ⊗ B) (A ⊗ I)``: a LoRA of rank a1·b2. More multiply-adds, but two plain products.
``a_wide``   ``x (A ⊗ I) (I ⊗ B)``: a LoRA of rank a2·b1.
``built``    ``x (A ⊗ B)``, the product built: where A and B are nearly as large as it is.

`krona.methods.kron_plan` picks one by a cost model; ``order=`` overrides it. With a leading dimension on A and B all
functions take the sum over terms ``Σₜ x (Aₜ ⊗ Bₜ)`` in one pass: ``[B₁ … B_T]`` side by side, the Aₜ interleaved.

The gradients of the first two orders are written out (`FactoredUpdate`): autograd's own sum a (N, a1, a2) array over
tokens by a slow kernel and add the input's gradient in one more pass. Where they don't apply (``torch.compile``,
autocast, mixed dtypes, no gradient asked for) the plain products run.
"""

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from krona.errors import KronaError
from krona.methods.arguments import choice
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
            y = _second_product(None, _first_product(x2, A, B, order), A, B, order)
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


class FactoredUpdate(torch.autograd.Function):
    """``base + x (A ⊗ B)`` by b_first or a_first; the base is ``y``, ``x Wᵀ + b`` of a frozen layer, or nothing.

    x (N, d_in), A (T, a1, a2), B (T, b1, b2), y (N, d_out), W (d_out, d_in), b (d_out). With ``merge`` the product goes
    into the weight. Gradients for x, A, B and y.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        A: Tensor,
        B: Tensor,
        y: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        order: Order,
        merge: bool,
    ) -> Tensor:
        between = _first_product(x, A, B, order)  # kept: the second factor's gradient needs it
        if weight is None:
            out = _second_product(y, between, A, B, order)
        elif merge:
            weight = _merged(weight, A, B)
            out = F.linear(x, weight, bias)
        else:
            out = F.linear(x, weight, bias)
            _second_product(out, between, A, B, order, in_place=True)
        ctx.save_for_backward(x, A, B, between, weight)
        ctx.order, ctx.merge = order, merge
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        x, A, B, between, weight = ctx.saved_tensors
        (N, (T, a1, a2), (_, b1, b2)), (wide_a, wide_b) = (len(x), A.shape, B.shape), side_by_side(A, B, ctx.order)
        g = g.contiguous()  # (N, d_out)
        G = g.view(N, a2, b2)
        base = g @ weight if weight is not None and ctx.needs_input_grad[0] else None  # (N, d_in)
        add = ctx.needs_input_grad[0] and not ctx.merge
        if ctx.order == "b_first":
            H, X = batched_onto(None, wide_a, G).view(N * a1, T * b2), x.view(N * a1, b1)
            gx = product_onto(base, H, wide_b.T) if add else base
            gB = (X.T @ H).view(b1, T, b2).transpose(0, 1)
            gA = _summed_products(between, G).view(a1, T, a2).transpose(0, 1)
        else:
            K = (G.view(N * a2, b2) @ wide_b.T).view(N, a2 * T, b1)
            gx = batched_onto(base, wide_a, K) if add else base
            gB = (between.view(N * a2, T * b1).T @ G.view(N * a2, b2)).view(T, b1, b2)
            gA = _summed_products(x.view(N, a1, b1), K).view(a1, a2, T).permute(2, 0, 1)
        gx = None if gx is None else gx.reshape(x.shape)
        return gx, gA, gB, g if ctx.needs_input_grad[3] else None, None, None, None, None


class LowRankUpdate(torch.autograd.Function):
    """``x Wᵀ + b + x U V`` of a frozen layer: x (N, d_in), U (d_in, r), V (r, d_out). Gradients for x, U and V."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, U: Tensor, V: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        z = x @ U  # (N, r)
        ctx.save_for_backward(x, U, V, z, weight)
        return F.linear(x, weight, bias).addmm_(z, V)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        x, U, V, z, weight = ctx.saved_tensors
        gz = g @ V.T
        gx = (g @ weight).addmm_(gz, U.T) if ctx.needs_input_grad[0] else None
        return gx, x.T @ gz, z.T @ g, None, None


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


def side_by_side(A: Tensor, B: Tensor, order: Order) -> tuple[Tensor, Tensor]:
    """The terms in one pair of factors: b_first (a1·T, a2), (b1, T·b2); a_first (a1, a2·T), (T·b1, b2). One: views."""
    (T, a1, a2), (_, b1, b2) = A.shape, B.shape
    if order == "b_first":
        return A.transpose(0, 1).reshape(a1 * T, a2), B.transpose(0, 1).reshape(b1, T * b2)
    return A.permute(1, 2, 0).reshape(a1, a2 * T), B.reshape(T * b1, b2)


def _first_product(x: Tensor, A: Tensor, B: Tensor, order: Order) -> Tensor:
    """b_first: X B, (N, a1·T, b2); a_first: Aᵀ X, (N, a2·T, b1)."""
    (N, (T, a1, _), (_, b1, b2)), (wide_a, wide_b) = (len(x), A.shape, B.shape), side_by_side(A, B, order)
    if order == "b_first":
        return (x.view(N * a1, b1) @ wide_b).view(N, a1 * T, b2)
    return batched_onto(None, wide_a.T, x.view(N, a1, b1))


def _second_product(
    y: Tensor | None, between: Tensor, A: Tensor, B: Tensor, order: Order, *, in_place: bool = False
) -> Tensor:
    """``y`` (N, d_out) or nothing, and the other factor's product of what `_first_product` gave: (N, d_out)."""
    (N, (T, _, a2), (_, b1, b2)), (wide_a, wide_b) = (len(between), A.shape, B.shape), side_by_side(A, B, order)
    if order == "b_first":
        return batched_onto(y, wide_a.T, between, in_place=in_place).reshape(N, a2 * b2)
    return product_onto(y, between.view(N * a2, T * b1), wide_b, in_place=in_place).reshape(N, a2 * b2)


def batched_onto(y: Tensor | None, M: Tensor, Z: Tensor, *, in_place: bool = False) -> Tensor:
    """``y + M Zₙ`` for each token n: M (p, q), Z (N, q, r). Not by ``@``, which copies Z to make one product of all."""
    many = M.expand(len(Z), *M.shape)
    if y is None:
        return torch.bmm(many, Z)
    Y = y.view(len(Z), M.shape[0], Z.shape[2])
    return Y.baddbmm_(many, Z) if in_place else torch.baddbmm(Y, many, Z)


def product_onto(y: Tensor | None, Z: Tensor, M: Tensor, *, in_place: bool = False) -> Tensor:
    """``y + Z M``: Z (rows, q), M (q, r)."""
    if y is None:
        return Z @ M
    Y = y.view(len(Z), M.shape[1])
    return Y.addmm_(Z, M) if in_place else torch.addmm(Y, Z, M)


def _summed_products(P: Tensor, Q: Tensor) -> Tensor:
    """``Σₙ Pₙ Qₙᵀ`` of (N, p, q) and (N, r, q): (p, r)."""
    (N, p, q), r = P.shape, Q.shape[1]
    if p * r <= q * (p + r):  # the products of single tokens are smaller than copies of P and Q
        each = torch.bmm(P, Q.transpose(1, 2)).view(N, p * r)
        return (each.new_ones(N) @ each).view(p, r)  # a matrix-vector product: the kernel of sum(0) takes longer
    return P.transpose(0, 1).reshape(p, N * q) @ Q.transpose(0, 1).reshape(r, N * q).T


def wide_factors(A: Tensor, B: Tensor, order: Order) -> tuple[Tensor, ...]:
    """The one or two matrices of an order without batched products."""
    (T, a1, a2), (_, b1, b2) = A.shape, B.shape
    if order == "built":
        return (torch.einsum("tik,tjl->ijkl", A, B).reshape(a1 * b1, a2 * b2),)
    if order == "b_wide":
        eye_a, eye_b = torch.eye(a1, dtype=A.dtype, device=A.device), torch.eye(b2, dtype=A.dtype, device=A.device)
        left = torch.einsum("iu,tjl->ijutl", eye_a, B).reshape(a1 * b1, a1 * T * b2)
        return left, torch.einsum("tuk,lm->utlkm", A, eye_b).reshape(a1 * T * b2, a2 * b2)
    eye_b, eye_a = torch.eye(b1, dtype=A.dtype, device=A.device), torch.eye(a2, dtype=A.dtype, device=A.device)
    left = torch.einsum("tik,jv->ijktv", A, eye_b).reshape(a1 * b1, a2 * T * b1)
    return left, torch.einsum("km,tvl->ktvml", eye_a, B).reshape(a2 * T * b1, a2 * b2)


def _merged(weight: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """``W + Σₜ (Aₜ ⊗ Bₜ)ᵀ``, (d_out, d_in)."""
    (_, a1, a2), (_, b1, b2) = A.shape, B.shape
    W = weight.view(a2, b2, a1, b1)
    for A_t, B_t in zip(A, B, strict=True):
        W = torch.addcmul(W, A_t.T[:, None, :, None], B_t.T.contiguous()[None, :, None, :])
    return W.view(weight.shape)
