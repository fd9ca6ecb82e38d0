"""The single products in which a Kronecker product and its gradients are computed, each one kernel.

Shapes: N tokens, A (a1, a2), B (b1, b2); for a sum of T products A (T, a1, a2), B (T, b1, b2), whose terms are laid
side by side as one pair of factors, so that one computation serves all.
"""

import torch
from torch import Tensor

from krona.kernels.cost_model import Order


def rows_of(x: Tensor) -> Tensor:
    """(..., d) → (N, d), a view where x lies row after row."""
    return x.reshape(x.numel() // x.shape[-1], x.shape[-1]).contiguous()


def side_by_side(A: Tensor, B: Tensor, order: Order) -> tuple[Tensor, Tensor]:
    """The terms as one pair: b_first (a1·T, a2), (b1, T·b2); a_first (a1, a2·T), (T·b1, b2). One pair is itself."""
    if A.dim() == 2:
        return A, B
    (T, a1, a2), (_, b1, b2) = A.shape, B.shape
    if order == "b_first":
        return A.transpose(0, 1).reshape(a1 * T, a2), B.transpose(0, 1).reshape(b1, T * b2)
    return A.permute(1, 2, 0).reshape(a1, a2 * T), B.reshape(T * b1, b2)


def one_by_one(wide_a: Tensor, wide_b: Tensor, like: Tensor, order: Order) -> tuple[Tensor, Tensor]:
    """`side_by_side` undone, as views; ``like``: A as it was."""
    if like.dim() == 2:
        return wide_a, wide_b
    T, a1, a2 = like.shape
    if order == "b_first":
        return wide_a.view(a1, T, a2).transpose(0, 1), wide_b.view(len(wide_b), T, -1).transpose(0, 1)
    return wide_a.view(a1, a2, T).permute(2, 0, 1), wide_b.view(T, -1, wide_b.shape[1])


def product_onto_rows(
    y: Tensor | None,
    x: Tensor,
    wide_a: Tensor,
    wide_b: Tensor,
    order: Order,
    *,
    in_place: bool = False,
) -> Tensor:
    """``y + x (A ⊗ B)`` by b_first or a_first, the terms side by side, x (N, d_in): (N, d_out)."""
    N, d_in = x.shape
    if order == "b_first":
        (rows, a2), (b1, columns) = wide_a.shape, wide_b.shape  # a1·T, a2; b1, T·b2
        a1 = d_in // b1
        Z = torch.mm(x.view(N * a1, b1), wide_b).view(N, rows, a1 * columns // rows)  # (N, a1·T, b2)
        return batched_onto(y, wide_a.T, Z, in_place=in_place).view(N, a2 * Z.shape[2])
    (a1, rows), (columns, b2) = wide_a.shape, wide_b.shape  # a1, a2·T; T·b1, b2
    a2 = rows * (d_in // a1) // columns
    V = batched_onto(None, wide_a.T, x.view(N, a1, d_in // a1)).view(N * a2, columns)  # Aᵀ X, (N·a2, T·b1)
    return product_onto(y, V, wide_b, in_place=in_place).view(N, a2 * b2)


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


def wide_factors(A: Tensor, B: Tensor, order: Order) -> tuple[Tensor, ...]:
    """The one or two matrices of an order without batched products."""
    if A.dim() == 2:
        A, B = A[None], B[None]
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


def merged(weight: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """``W + Σₜ (Aₜ ⊗ Bₜ)ᵀ``, (d_out, d_in): whole rows at a time, A's and B's columns spread over them."""
    W = weight
    for term_a, term_b in [(A, B)] if A.dim() == 2 else zip(A, B, strict=True):
        (a1, a2), (b1, b2) = term_a.shape, term_b.shape
        rows_a = term_a.T[:, :, None].expand(a2, a1, b1).reshape(a2, 1, a1 * b1)
        rows_b = term_b.T[:, None, :].expand(b2, a1, b1).reshape(1, b2, a1 * b1)
        W = torch.addcmul(W.view(a2, b2, a1 * b1), rows_a, rows_b)
    return W.view(weight.shape)
