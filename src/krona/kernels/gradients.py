"""Autograd functions with explicit gradients, for a layer with a Kronecker product or a low-rank update.

These functions are faster than PyTorch's automatic gradients, for four reasons. PyTorch sums an array (N, a1, a2) over
tokens with a slow kernel, adds the gradient of the input in an extra pass, keeps the intermediate result in memory, and
needs Python time for every view. Here, one autograd node computes everything, and the backward pass computes the
intermediate result again. Large inputs are processed in blocks of tokens that fit into the cache of a processor core.

For one token, X (a1, b1) is the input and G (a2, b2) is the gradient of the output ``Y = Aᵀ X B``. The gradients are
``gA = Σₙ X B Gᵀ``, ``gB = Σₙ Xᵀ A G`` and ``gX = A G Bᵀ``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from krona.kernels.contractions import (
    add_batched,
    add_kron_product,
    flatten_rows,
    join_terms,
    merge_into_weight,
    split_terms,
)
from krona.kernels.cost_model import Order

BLOCK = 512 * 768  # the maximum size of a block: the number of its tokens times the larger width of x and g


def under_functorch() -> bool:
    """Return whether a transform of ``torch.func`` (``grad``, ``vmap``) is active.

    These autograd functions do not work under such a transform. The caller then uses plain products.
    """
    return bool(torch._C._are_functorch_transforms_active())


class LayerWithUpdate(torch.autograd.Function):
    """The output ``x Wᵀ + b + x (A ⊗ B)`` of a frozen layer with an update, with gradients for x, A and B.

    The shapes are x (..., d_in), W (d_out, d_in) and b (d_out). The order is ``b_first`` or ``a_first``. If ``merge``
    is true, the Kronecker product is first added to the weight.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, A: Tensor, B: Tensor, weight: Tensor, bias: Tensor | None, order: Order, merge: bool
    ) -> Tensor:
        x2 = flatten_rows(x)
        if merge:
            weight = merge_into_weight(weight, A, B)
        out = F.linear(x2, weight, bias)
        if not merge:
            add_kron_product(out, x2, *join_terms(A, B, order), order, in_place=True)
        ctx.save_for_backward(x2, A, B, weight)
        ctx.order, ctx.merge, ctx.shape = order, merge, x.shape
        return out.view(*x.shape[:-1], out.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        (x, A, B, weight), g = ctx.saved_tensors, flatten_rows(g)
        gx = g @ weight if ctx.needs_input_grad[0] else None
        gA, gB = _gradients(x, g, A, B, ctx.order, None if ctx.merge else gx)
        return None if gx is None else gx.view(ctx.shape), gA, gB, None, None, None, None


class AddedUpdate(torch.autograd.Function):
    """The sum ``y + bias + gate · x + x (A ⊗ B)``, or the product alone if y is None, with gradients for every tensor.

    The shapes are x (..., d_in), y (..., d_out), bias (d_out) and gate (). One pass computes the gradient of x.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        A: Tensor,
        B: Tensor,
        y: Tensor | None,
        bias: Tensor | None,
        gate: Tensor | None,
        order: Order,
    ) -> Tensor:
        x2, start = flatten_rows(x), None
        if y is not None:
            start = flatten_rows(y)
            if gate is not None:
                start = torch.addcmul(start, x2, gate)
            if bias is not None:
                start = start + bias if gate is None else start.add_(bias)
        owned = gate is not None or bias is not None  # start is a new tensor, not the caller's y
        out = add_kron_product(start, x2, *join_terms(A, B, order), order, in_place=owned)
        ctx.save_for_backward(x2, A, B, gate)
        ctx.order, ctx.shape = order, x.shape
        return out.view(*x.shape[:-1], out.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        x, A, B, gate = ctx.saved_tensors
        need_x, _, _, need_y, need_bias, need_gate, _ = ctx.needs_input_grad
        g2, gx = flatten_rows(g), None
        if need_x:
            gx = torch.empty_like(x) if gate is None else g2 * gate
        gA, gB = _gradients(x, g2, A, B, ctx.order, gx, beta=0 if gate is None else 1)
        g_bias = _sum_rows(g2) if need_bias else None
        g_gate = torch.dot(g2.view(-1), x.view(-1)) if need_gate else None
        return None if gx is None else gx.view(ctx.shape), gA, gB, g if need_y else None, g_bias, g_gate, None


class LowRankUpdate(torch.autograd.Function):
    """The output ``x Wᵀ + b + x U V`` of a frozen layer with a low-rank update, with gradients for x, U and V.

    The shapes are x (N, d_in), U (d_in, r) and V (r, d_out).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, U: Tensor, V: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        z = x @ U  # (N, r)
        ctx.save_for_backward(x, U, V, z, weight)
        return F.linear(x, weight, bias).addmm_(z, V)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        x, U, V, z, weight = ctx.saved_tensors
        gz = g @ V.T  # (N, r)
        gx = (g @ weight).addmm_(gz, U.T) if ctx.needs_input_grad[0] else None
        return gx, x.T @ gz, z.T @ g, None, None


def _gradients(
    x: Tensor, g: Tensor, A: Tensor, B: Tensor, order: Order, gx: Tensor | None, *, beta: int = 1
) -> tuple[Tensor, Tensor]:
    """Return the gradients of A and B, and change gx in place to ``beta · gx`` plus the gradient of x.

    The shapes are x (N, d_in) and g (N, d_out), where g is the gradient of the output. gx (N, d_in) may be None.
    """
    joined_a, joined_b = join_terms(A, B, order)
    block_gradients = _b_first_gradients if order == "b_first" else _a_first_gradients
    tokens = len(x) if x.device.type != "cpu" else max(1, BLOCK // max(x.shape[1], g.shape[1]))
    if len(x) <= tokens:
        return split_terms(*block_gradients(x, g, joined_a, joined_b, gx, beta), A, order)
    starts = range(0, len(x), tokens)
    blocks = [(x[at : at + tokens], g[at : at + tokens], None if gx is None else gx[at : at + tokens]) for at in starts]
    (total_a, total_b), *others = (block_gradients(X, G, joined_a, joined_b, GX, beta) for X, G, GX in blocks)
    for gA, gB in others:
        total_a, total_b = total_a.add_(gA), total_b.add_(gB)
    return split_terms(total_a, total_b, A, order)


def _b_first_gradients(
    x: Tensor, g: Tensor, joined_a: Tensor, joined_b: Tensor, gx: Tensor | None, beta: int
) -> tuple[Tensor, Tensor]:
    (rows, a2), (b1, columns) = joined_a.shape, joined_b.shape  # a1·T, a2; b1, T·b2
    X, G = x.view(-1, b1), g.view(len(g), a2, -1)  # (N·a1, b1), (N, a2, b2)
    H = add_batched(None, joined_a, G).view(-1, columns)  # A G, (N·a1, T·b2)
    gB = X.T @ H  # (b1, T·b2)
    if gx is not None:
        gx.view(X.shape).addmm_(H, joined_b.T, beta=beta)
    Z = torch.mm(X, joined_b, out=H).view(len(g), rows, -1)  # X B, (N, a1·T, b2), into memory that is in the cache
    return _sum_products(Z, G), gB


def _a_first_gradients(
    x: Tensor, g: Tensor, joined_a: Tensor, joined_b: Tensor, gx: Tensor | None, beta: int
) -> tuple[Tensor, Tensor]:
    (a1, rows), (columns, b2) = joined_a.shape, joined_b.shape  # a1, a2·T; T·b1, b2
    X, G = x.view(len(x), a1, -1), g.view(-1, b2)  # (N, a1, b1), (N·a2, b2)
    V = add_batched(None, joined_a.T, X).view(-1, columns)  # Aᵀ X, (N·a2, T·b1)
    gB = V.T @ G  # (T·b1, b2)
    K = torch.mm(G, joined_b.T, out=V).view(len(x), rows, -1)  # G Bᵀ, (N, a2·T, b1)
    if gx is not None:
        gx.view(X.shape).baddbmm_(joined_a.expand(len(x), a1, rows), K, beta=beta)
    return _sum_products(X, K), gB


def _sum_products(P: Tensor, Q: Tensor) -> Tensor:
    """Return ``Σₙ Pₙ Qₙᵀ``, (p, r), for P (N, p, q) and Q (N, r, q).

    The result is computed as a sum of N products. If copies of P and Q need less memory than the N products, it is
    computed as one product of the copies.
    """
    (N, p, q), r = P.shape, Q.shape[1]
    if p * r <= q * (p + r):
        return _sum_rows(torch.bmm(P, Q.transpose(1, 2)).view(N, p * r)).view(p, r)
    return P.transpose(0, 1).reshape(p, N * q) @ Q.transpose(0, 1).reshape(r, N * q).T


def _sum_rows(x: Tensor) -> Tensor:
    """Return the sum of x (N, d) over its rows. A matrix-vector product computes it faster than ``sum(0)``."""
    return x.new_ones(len(x)) @ x
