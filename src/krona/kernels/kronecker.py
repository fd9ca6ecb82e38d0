"""Fast Kronecker products ``x (A ⊗ B)`` (Eq. 2).

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
    ``x (A ⊗ B)`` builds the matrix A ⊗ B, which is fast if A or B is nearly as large as A ⊗ B.

`krona.kernels.cost_model` chooses the order from the shapes, unless the argument ``order`` is given. If A and B have a
leading dimension, the sum ``Σₜ x (Aₜ ⊗ Bₜ)`` of all T terms is computed in one pass.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from krona.kernels.cost_model import ORDERS, Order, Product

# Under torch.compile, the order is chosen for this number of rows. Using the actual number of rows would cause a new
# compilation for each batch.
COMPILED_ROWS = 2048


def kron_product(A: Tensor, B: Tensor) -> Tensor:
    """Return ``A ⊗ B`` (Eq. 1), (a1·b1, a2·b2), or the sum ``Σₜ Aₜ ⊗ Bₜ`` for A (T, a1, a2) and B (T, b1, b2).

    Unlike ``torch.kron``, the function accepts transposed factors with a side of 1.
    """
    if A.dim() == 3:
        return torch.stack([kron_product(term_a, term_b) for term_a, term_b in zip(A, B, strict=True)]).sum(0)
    return (A[:, None, :, None] * B[None, :, None, :]).reshape(A.shape[0] * B.shape[0], A.shape[1] * B.shape[1])


def with_identity(M: Tensor) -> tuple[Tensor, Tensor]:
    """Return two matrices whose product is M. One of the two is the identity of M's smaller dimension."""
    identity = _identity(min(M.shape), M)
    return (M, identity) if M.shape[1] <= M.shape[0] else (identity, M)


def kron_matmul(x: Tensor, A: Tensor, B: Tensor, *, order: Order | None = None) -> Tensor:
    """Return ``x (A ⊗ B)``, (..., a2·b2).

    Args:
        x: a floating-point tensor (..., a1·b1).
        A: (a1, a2), or (T, a1, a2) for a sum of T products.
        B: (b1, b2), or (T, b1, b2) for a sum of T products.
        order: the contraction order. None chooses the order with the lowest predicted cost.

    Raises:
        ValueError: the shapes of x, A and B do not fit, or the order is unknown.
    """
    order = _choose_order(x, A, B, order)
    if order == "built":
        return x @ kron_product(A, B)
    (a1, a2), (b1, b2) = A.shape[-2:], B.shape[-2:]
    joined_a, joined_b = _join_terms(A, B, order)
    if order == "b_wide":
        return x @ kron_product(_identity(a1, B), joined_b) @ kron_product(joined_a, _identity(b2, A))
    if order == "a_wide":
        return x @ kron_product(joined_a, _identity(b1, A)) @ kron_product(_identity(a2, B), joined_b)
    N = x.numel() // x.shape[-1]
    if order == "b_first":
        Z = (x.reshape(N * a1, b1) @ joined_b).view(N, len(joined_a), b2)  # X B, (N, a1·T, b2)
        y = torch.bmm(joined_a.T.expand(N, *joined_a.T.shape), Z)  # (N, a2, b2)
    else:
        V = torch.bmm(joined_a.T.expand(N, *joined_a.T.shape), x.reshape(N, a1, b1))  # Aᵀ X, (N, a2·T, b1)
        y = V.view(N * a2, len(joined_b)) @ joined_b  # (N·a2, b2)
    return y.view(*x.shape[:-1], a2 * b2)


def _join_terms(A: Tensor, B: Tensor, order: Order) -> tuple[Tensor, Tensor]:
    """Return one pair of matrices that contains the factors of all terms.

    The shapes are (a1·T, a2) and (b1, T·b2) if the order begins with B, and (a1, a2·T) and (T·b1, b2) otherwise.
    """
    if A.dim() == 2:
        return A, B
    if order.startswith("b"):
        return A.transpose(0, 1).flatten(0, 1), B.transpose(0, 1).flatten(1, 2)
    return A.permute(1, 2, 0).flatten(1, 2), B.flatten(0, 1)


def _identity(size: int, like: Tensor) -> Tensor:
    return torch.eye(size, dtype=like.dtype, device=like.device)


def _choose_order(x: Tensor, A: Tensor, B: Tensor, order: Order | None) -> Order:
    """Return the contraction order.

    Raises:
        ValueError: the shapes of x, A and B do not fit, or the order is unknown.
    """
    if order not in (None, *ORDERS):
        raise ValueError(f"order={order!r} is not one of {', '.join(ORDERS)}.")
    training = torch.is_grad_enabled() and (A.requires_grad or B.requires_grad)
    if torch.compiler.is_compiling():  # torch.compile cannot trace a cache
        fastest = _cheapest_order((COMPILED_ROWS, x.shape[-1]), A.shape, B.shape, x.device.type, training)
    else:
        fastest = _cheapest_order_cached(x.shape, A.shape, B.shape, x.device.type, training)
    return order or fastest


def _cheapest_order(x: Sequence[int], A: Sequence[int], B: Sequence[int], device: str, training: bool) -> Order:
    """Return the order with the lowest predicted cost, for the shapes of x, A and B."""
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
    terms = A[0] if len(A) == 3 else 1
    return Product((a1, a2), (b1, b2), rows, terms=terms, device=device).plan(training=training)


_cheapest_order_cached = lru_cache(maxsize=4096)(_cheapest_order)
