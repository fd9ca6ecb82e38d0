"""Updates of a linear layer with their gradients written out: the Kronecker product's and a low-rank one's.

Autograd's own sum a (N, a1, a2) array over tokens by a slow kernel, add the input's gradient in one more pass, and
take what lies between the two products from memory. Here the backward pass goes block by block of tokens, so that a
block of x and g and all that is made of it stay in a core's cache.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from krona.methods.kron_contractions import batched_onto, first_product, merged, second_product, side_by_side
from krona.methods.kron_plan import Order

BLOCK = 256 * 768  # numbers of the wider of x and g: 768 KiB


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
        between = None
        if weight is not None and merge:
            weight = merged(weight, A, B)
            out = F.linear(x, weight, bias)
        else:
            between = first_product(x, A, B, order)  # kept: the second factor's gradient needs it
            if weight is None:
                out = second_product(y, between, A, B, order)
            else:
                out = F.linear(x, weight, bias)
                second_product(out, between, A, B, order, in_place=True)
        ctx.save_for_backward(x, A, B, between, weight)
        ctx.order, ctx.merge = order, merge
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        x, A, B, between, weight = ctx.saved_tensors
        g, gx = g.contiguous(), None
        if ctx.needs_input_grad[0]:
            gx = g @ weight if weight is not None else torch.zeros_like(x)
        gradients = _b_first_gradients if ctx.order == "b_first" else _a_first_gradients
        gA, gB = gradients(x, g, A, B, between, None if ctx.merge else gx)
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


def _b_first_gradients(
    x: Tensor, g: Tensor, A: Tensor, B: Tensor, between: Tensor | None, gx: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Of A and B; the input's is added to gx. ``between``: X B, or None to make it anew."""
    (T, a1, a2), (_, b1, b2), (wide_a, wide_b) = A.shape, B.shape, side_by_side(A, B, "b_first")
    gB, sums = B.new_zeros(b1, T * b2), _Sums(a1 * T, b2, a2, like=A)
    for block in _blocks(x, g, narrow=sums.numbers):
        X, G = x[block].view(-1, b1), g[block].view(-1, a2, b2)  # (n·a1, b1), (n, a2, b2)
        H = batched_onto(None, wide_a, G).view(len(X), T * b2)
        gB.addmm_(X.T, H)
        if gx is not None:
            gx[block].view(X.shape).addmm_(H, wide_b.T)
        Z = torch.mm(X, wide_b, out=H) if between is None else between[block]  # H's memory is in the cache
        sums.add(Z.view(len(G), a1 * T, b2), G)
    return sums.total().view(a1, T, a2).transpose(0, 1), gB.view(b1, T, b2).transpose(0, 1)


def _a_first_gradients(
    x: Tensor, g: Tensor, A: Tensor, B: Tensor, between: Tensor | None, gx: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The same where ``between`` is Aᵀ X."""
    (T, a1, a2), (_, b1, b2), (wide_a, wide_b) = A.shape, B.shape, side_by_side(A, B, "a_first")
    gB, sums = B.new_zeros(T * b1, b2), _Sums(a1, b1, a2 * T, like=A)
    for block in _blocks(x, g, narrow=sums.numbers):
        X, G = x[block].view(-1, a1, b1), g[block].view(-1, b2)  # (n, a1, b1), (n·a2, b2)
        V = (batched_onto(None, wide_a.T, X) if between is None else between[block]).view(len(G), T * b1)
        gB.addmm_(V.T, G)
        K = torch.mm(G, wide_b.T, out=V if between is None else None).view(len(X), a2 * T, b1)
        if gx is not None:
            batched_onto(gx[block], wide_a, K, in_place=True)
        sums.add(X, K)
    return sums.total().view(a1, a2, T).permute(2, 0, 1), gB.view(T, b1, b2)


def _blocks(x: Tensor, g: Tensor, *, narrow: int) -> Iterator[slice]:
    """Slices of tokens; all at once where memory is not a core's cache. ``narrow``: numbers that a token adds."""
    tokens = max(1, BLOCK // max(x.shape[1], g.shape[1], narrow)) if x.device.type == "cpu" else len(x)
    return (slice(at, at + tokens) for at in range(0, len(x), tokens))


class _Sums:
    """``Σₙ Pₙ Qₙᵀ`` of (n, p, q) and (n, r, q), block by block: (p, r).

    Product by product, added where the block before left its own, the tokens summed at the end; or as one product of
    copies with the tokens side by side, where those are smaller.
    """

    def __init__(self, p: int, q: int, r: int, *, like: Tensor) -> None:
        self.p, self.r, self.apart = p, r, p * r <= q * (p + r)
        self.numbers = p * r if self.apart else q * (p + r)  # that a token adds
        self.sums: Tensor | None = None if self.apart else like.new_zeros(1, p, r)  # (largest n or 1, p, r)

    def add(self, P: Tensor, Q: Tensor) -> None:
        if not self.apart:
            P, Q = (side.transpose(0, 1).reshape(1, side.shape[1], -1) for side in (P, Q))
        if self.sums is None:
            self.sums = torch.bmm(P, Q.transpose(1, 2))
        else:
            self.sums[: len(P)].baddbmm_(P, Q.transpose(1, 2))

    def total(self) -> Tensor:
        assert self.sums is not None
        each = self.sums.view(len(self.sums), self.p * self.r)
        return (each.new_ones(len(each)) @ each).view(self.p, self.r)  # the kernel of sum(0) takes longer
