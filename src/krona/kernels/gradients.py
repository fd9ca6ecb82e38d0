"""Updates of a layer with written-out gradients: the Kronecker product's and a low-rank one's.

Autograd's own gradients sum a (N, a1, a2) array over tokens by a slow kernel, add the input's gradient in one more
pass, keep the intermediate in memory, and spend Python on every view. Here one node does it all and computes the
intermediate again. Large inputs are processed in blocks of tokens, so that a block stays in a core's cache.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from krona.kernels.contractions import batched_onto, merged, one_by_one, product_onto_rows, rows_of, side_by_side
from krona.kernels.cost_model import Order

BLOCK = 512 * 768  # numbers of the wider of x and g


def under_functorch() -> bool:
    """Whether ``torch.func.grad``, ``vmap`` or another of its transforms is at work: they take plain products."""
    return bool(torch._C._are_functorch_transforms_active())


class LayerWithUpdate(torch.autograd.Function):
    """``x Wᵀ + b + x (A ⊗ B)`` of a frozen layer, by b_first or a_first: x (..., d_in), W (d_out, d_in), b (d_out).

    With ``merge`` the product goes into the weight. Gradients for x, A and B.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, A: Tensor, B: Tensor, weight: Tensor, bias: Tensor | None, order: Order, merge: bool
    ) -> Tensor:
        x2 = rows_of(x)
        if merge:
            weight = merged(weight, A, B)
        out = F.linear(x2, weight, bias)
        if not merge:
            product_onto_rows(out, x2, *side_by_side(A, B, order), order, in_place=True)
        ctx.save_for_backward(x2, A, B, weight)
        ctx.order, ctx.merge, ctx.shape = order, merge, x.shape
        return out.view(*x.shape[:-1], out.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        (x, A, B, weight), g = ctx.saved_tensors, rows_of(g)
        gx = g @ weight if ctx.needs_input_grad[0] else None
        gA, gB = _gradients(x, g, A, B, ctx.order, None if ctx.merge else gx)
        return None if gx is None else gx.view(ctx.shape), gA, gB, None, None, None, None


class AddedUpdate(torch.autograd.Function):
    """``y + bias + gate · x + x (A ⊗ B)``, or the product alone: x (..., d_in), y (..., d_out), bias (d_out), gate ().

    Gradients for all that is given, the input's through gate and product in one pass.
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
        x2, start = rows_of(x), None
        if y is not None:
            start = rows_of(y)
            if gate is not None:
                start = torch.addcmul(start, x2, gate)
            if bias is not None:
                start = start + bias if gate is None else start.add_(bias)
        ours = gate is not None or bias is not None  # and not the caller's y
        out = product_onto_rows(start, x2, *side_by_side(A, B, order), order, in_place=ours)
        ctx.save_for_backward(x2, A, B, gate)
        ctx.order, ctx.shape = order, x.shape
        return out.view(*x.shape[:-1], out.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        x, A, B, gate = ctx.saved_tensors
        need_x, _, _, need_y, need_bias, need_gate, _ = ctx.needs_input_grad
        g2, gx = rows_of(g), None
        if need_x:
            gx = torch.empty_like(x) if gate is None else g2 * gate
        gA, gB = _gradients(x, g2, A, B, ctx.order, gx, beta=0 if gate is None else 1)
        g_bias = _sum_of_rows(g2) if need_bias else None
        g_gate = torch.dot(g2.view(-1), x.view(-1)) if need_gate else None
        return None if gx is None else gx.view(ctx.shape), gA, gB, g if need_y else None, g_bias, g_gate, None


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


def _gradients(
    x: Tensor, g: Tensor, A: Tensor, B: Tensor, order: Order, gx: Tensor | None, *, beta: int = 1
) -> tuple[Tensor, Tensor]:
    """Of A and B, for x (N, d_in) and g (N, d_out); the input's through the product is added to ``beta · gx``."""
    wide_a, wide_b = side_by_side(A, B, order)
    of_rows = _b_first_gradients if order == "b_first" else _a_first_gradients
    tokens = len(x) if x.device.type != "cpu" else max(1, BLOCK // max(x.shape[1], g.shape[1]))
    if len(x) <= tokens:
        return one_by_one(*of_rows(x, g, wide_a, wide_b, gx, beta), A, order)
    starts = range(0, len(x), tokens)
    blocks = [(x[at : at + tokens], g[at : at + tokens], None if gx is None else gx[at : at + tokens]) for at in starts]
    (total_a, total_b), *others = (of_rows(X, G, wide_a, wide_b, GX, beta) for X, G, GX in blocks)
    for gA, gB in others:
        total_a, total_b = total_a.add_(gA), total_b.add_(gB)
    return one_by_one(total_a, total_b, A, order)


def _b_first_gradients(
    x: Tensor, g: Tensor, wide_a: Tensor, wide_b: Tensor, gx: Tensor | None, beta: int
) -> tuple[Tensor, Tensor]:
    (rows, a2), (b1, columns) = wide_a.shape, wide_b.shape  # a1·T, a2; b1, T·b2
    X, G = x.view(-1, b1), g.view(len(g), a2, -1)  # (N·a1, b1), (N, a2, b2)
    H = batched_onto(None, wide_a, G).view(-1, columns)  # (N·a1, T·b2)
    gB = X.T @ H
    if gx is not None:
        gx.view(X.shape).addmm_(H, wide_b.T, beta=beta)
    Z = torch.mm(X, wide_b, out=H).view(len(g), rows, -1)  # X B, into memory that is in the cache
    return _sum_of_products(Z, G), gB


def _a_first_gradients(
    x: Tensor, g: Tensor, wide_a: Tensor, wide_b: Tensor, gx: Tensor | None, beta: int
) -> tuple[Tensor, Tensor]:
    (a1, rows), (columns, b2) = wide_a.shape, wide_b.shape  # a1, a2·T; T·b1, b2
    X, G = x.view(len(x), a1, -1), g.view(-1, b2)  # (N, a1, b1), (N·a2, b2)
    V = batched_onto(None, wide_a.T, X).view(-1, columns)  # Aᵀ X, (N·a2, T·b1)
    gB = V.T @ G
    K = torch.mm(G, wide_b.T, out=V).view(len(x), rows, -1)  # (N, a2·T, b1)
    if gx is not None:
        gx.view(X.shape).baddbmm_(wide_a.expand(len(x), a1, rows), K, beta=beta)
    return _sum_of_products(X, K), gB


def _sum_of_products(P: Tensor, Q: Tensor) -> Tensor:
    """``Σₙ Pₙ Qₙᵀ`` of (N, p, q), (N, r, q): (p, r). Each, then the sum; or one product of copies where smaller."""
    (N, p, q), r = P.shape, Q.shape[1]
    if p * r <= q * (p + r):
        return _sum_of_rows(torch.bmm(P, Q.transpose(1, 2)).view(N, p * r)).view(p, r)
    return P.transpose(0, 1).reshape(p, N * q) @ Q.transpose(0, 1).reshape(r, N * q).T


def _sum_of_rows(x: Tensor) -> Tensor:
    """(N, d) → (d): a matrix-vector product, for the kernel of sum(0) takes longer."""
    return x.new_ones(len(x)) @ x
