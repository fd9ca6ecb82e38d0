"""Matrix products from which a product with a Kronecker product, and its gradients, are computed.

Notation: N is the number of tokens. The factors are A (a1, a2) and B (b1, b2), with d_in = a1·b1 and d_out = a2·b2. A
sum of T Kronecker products has the factors A (T, a1, a2) and B (T, b1, b2). `join_terms` turns the factors of a sum
into one pair of matrices, so that all terms are computed together.
"""

import torch
from torch import Tensor

from krona.kernels.cost_model import Order


def flatten_rows(x: Tensor) -> Tensor:
    """Reshape x (..., d) to (N, d). The result is a view if x is contiguous."""
    return x.reshape(x.numel() // x.shape[-1], x.shape[-1]).contiguous()


def join_terms(A: Tensor, B: Tensor, order: Order) -> tuple[Tensor, Tensor]:
    """Return one pair of matrices that contains the factors of all terms.

    Their shapes are (a1·T, a2) and (b1, T·b2) for the order ``b_first``, and (a1, a2·T) and (T·b1, b2) for ``a_first``.
    """
    if A.dim() == 2:
        return A, B
    (T, a1, a2), (_, b1, b2) = A.shape, B.shape
    if order == "b_first":
        return A.transpose(0, 1).reshape(a1 * T, a2), B.transpose(0, 1).reshape(b1, T * b2)
    return A.permute(1, 2, 0).reshape(a1, a2 * T), B.reshape(T * b1, b2)


def split_terms(joined_a: Tensor, joined_b: Tensor, A: Tensor, order: Order) -> tuple[Tensor, Tensor]:
    """Return views of joined matrices, with the original shapes of A and B. This is the inverse of `join_terms`."""
    if A.dim() == 2:
        return joined_a, joined_b
    T, a1, a2 = A.shape
    if order == "b_first":
        return joined_a.view(a1, T, a2).transpose(0, 1), joined_b.view(len(joined_b), T, -1).transpose(0, 1)
    return joined_a.view(a1, a2, T).permute(2, 0, 1), joined_b.view(T, -1, joined_b.shape[1])


def add_kron_product(
    y: Tensor | None,
    x: Tensor,
    joined_a: Tensor,
    joined_b: Tensor,
    order: Order,
    *,
    in_place: bool = False,
) -> Tensor:
    """Return ``y + x (A ⊗ B)``, (N, d_out), for y (N, d_out) or None, x (N, d_in) and the matrices of `join_terms`.

    ``order`` is ``b_first`` or ``a_first``. If ``in_place``, the result is written to y.
    """
    N, d_in = x.shape
    if order == "b_first":
        (rows, a2), (b1, columns) = joined_a.shape, joined_b.shape  # a1·T, a2; b1, T·b2
        a1 = d_in // b1
        Z = torch.mm(x.view(N * a1, b1), joined_b)  # X B, (N·a1, T·b2)
        Z = Z.view(N, rows, a1 * columns // rows)  # (N, a1·T, b2)
        return add_batched(y, joined_a.T, Z, in_place=in_place).view(N, a2 * Z.shape[2])
    (a1, rows), (columns, b2) = joined_a.shape, joined_b.shape  # a1, a2·T; T·b1, b2
    a2 = rows * (d_in // a1) // columns
    V = add_batched(None, joined_a.T, x.view(N, a1, d_in // a1)).view(N * a2, columns)  # Aᵀ X, (N·a2, T·b1)
    if y is None:
        return (V @ joined_b).view(N, a2 * b2)
    Y = y.view(len(V), b2)
    return (Y.addmm_(V, joined_b) if in_place else torch.addmm(Y, V, joined_b)).view(N, a2 * b2)


def add_batched(y: Tensor | None, M: Tensor, Z: Tensor, *, in_place: bool = False) -> Tensor:
    """Return ``y + M Zₙ`` for each token n, for M (p, q) and Z (N, q, r).

    The function does not copy Z, unlike the operator ``@``.
    """
    batch = M.expand(len(Z), *M.shape)  # (N, p, q)
    if y is None:
        return torch.bmm(batch, Z)
    Y = y.view(len(Z), M.shape[0], Z.shape[2])
    return Y.baddbmm_(batch, Z) if in_place else torch.baddbmm(Y, batch, Z)


def wide_factors(A: Tensor, B: Tensor, order: Order) -> tuple[Tensor, ...]:
    """Return the matrices for the order ``built`` (one matrix), ``b_wide`` or ``a_wide`` (two matrices).

    If x is multiplied by these matrices one after another, the result is ``x (A ⊗ B)``.
    """
    if A.dim() == 2:
        A, B = A[None], B[None]
    (T, a1, a2), (_, b1, b2) = A.shape, B.shape
    if order == "built":
        return (torch.einsum("tik,tjl->ijkl", A, B).reshape(a1 * b1, a2 * b2),)
    if order == "b_wide":
        eye_a, eye_b = torch.eye(a1, dtype=A.dtype, device=A.device), torch.eye(b2, dtype=A.dtype, device=A.device)
        left = torch.einsum("iu,tjl->ijutl", eye_a, B).reshape(a1 * b1, a1 * T * b2)  # I ⊗ B
        return left, torch.einsum("tuk,lm->utlkm", A, eye_b).reshape(a1 * T * b2, a2 * b2)  # A ⊗ I
    eye_b, eye_a = torch.eye(b1, dtype=A.dtype, device=A.device), torch.eye(a2, dtype=A.dtype, device=A.device)
    left = torch.einsum("tik,jv->ijktv", A, eye_b).reshape(a1 * b1, a2 * T * b1)  # A ⊗ I
    return left, torch.einsum("km,tvl->ktvml", eye_a, B).reshape(a2 * T * b1, a2 * b2)  # I ⊗ B


def merge_into_weight(weight: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """Return ``W + Σₜ (Aₜ ⊗ Bₜ)ᵀ``, (d_out, d_in). No separate matrix A ⊗ B is built."""
    W = weight
    for term_a, term_b in [(A, B)] if A.dim() == 2 else zip(A, B, strict=True):
        (a1, a2), (b1, b2) = term_a.shape, term_b.shape
        rows_a = term_a.T[:, :, None].expand(a2, a1, b1).reshape(a2, 1, a1 * b1)
        rows_b = term_b.T[:, None, :].expand(b2, a1, b1).reshape(1, b2, a1 * b1)
        W = torch.addcmul(W.view(a2, b2, a1 * b1), rows_a, rows_b)
    return W.view(weight.shape)
