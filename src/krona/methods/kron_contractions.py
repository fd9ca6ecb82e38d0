"""The products that a Kronecker product is made of, each one kernel: what `kron_product` and its gradients share.

Shapes: N tokens, A (T, a1, a2), B (T, b1, b2) for a sum of T products.
"""

import torch
from torch import Tensor

from krona.methods.kron_plan import Order


def side_by_side(A: Tensor, B: Tensor, order: Order) -> tuple[Tensor, Tensor]:
    """The terms in one pair of factors: b_first (a1·T, a2), (b1, T·b2); a_first (a1, a2·T), (T·b1, b2). One: views."""
    (T, a1, a2), (_, b1, b2) = A.shape, B.shape
    if order == "b_first":
        return A.transpose(0, 1).reshape(a1 * T, a2), B.transpose(0, 1).reshape(b1, T * b2)
    return A.permute(1, 2, 0).reshape(a1, a2 * T), B.reshape(T * b1, b2)


def first_product(x: Tensor, A: Tensor, B: Tensor, order: Order) -> Tensor:
    """b_first: X B, (N, a1·T, b2); a_first: Aᵀ X, (N, a2·T, b1)."""
    (N, (T, a1, _), (_, b1, b2)), (wide_a, wide_b) = (len(x), A.shape, B.shape), side_by_side(A, B, order)
    if order == "b_first":
        return (x.view(N * a1, b1) @ wide_b).view(N, a1 * T, b2)
    return batched_onto(None, wide_a.T, x.view(N, a1, b1))


def second_product(
    y: Tensor | None, between: Tensor, A: Tensor, B: Tensor, order: Order, *, in_place: bool = False
) -> Tensor:
    """``y`` (N, d_out) or nothing, and the other factor's product of what `first_product` gave: (N, d_out)."""
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


def merged(weight: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """``W + Σₜ (Aₜ ⊗ Bₜ)ᵀ``, (d_out, d_in): whole rows at a time, A's and B's columns spread over them."""
    (T, a1, a2), (_, b1, b2) = A.shape, B.shape
    W = weight.view(a2, b2, a1 * b1)
    rows_a = A.transpose(1, 2)[:, :, :, None].expand(T, a2, a1, b1).reshape(T, a2, 1, a1 * b1)
    rows_b = B.transpose(1, 2)[:, :, None, :].expand(T, b2, a1, b1).reshape(T, 1, b2, a1 * b1)
    for row_a, row_b in zip(rows_a, rows_b, strict=True):
        W = torch.addcmul(W, row_a, row_b)
    return W.view(weight.shape)
