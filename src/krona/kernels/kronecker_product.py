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

If A and B have a leading dimension, the sum ``Σₜ x (Aₜ ⊗ Bₜ)`` of all T terms is computed in one pass.

Unless the argument ``order`` is given, the order with the lowest predicted cost is used (`predict_costs`). The unit of
a cost is one multiply-add of a large matrix product. The cost of a product (m, k) @ (k, n) is the sum of three parts:

- m·k·n for the multiply-adds. If n is below ``narrow``, ``narrow`` replaces n, because fewer columns do not fill a
  vector register and save no time. For products that are batched over tokens, this part is multiplied by ``batched``.
- ``per_float`` for each number that is read or written.
- ``per_launch`` for the launch of the operation.

The costs of a CPU are fitted to the measurements in docs/results/kronecker.json. The costs of a GPU come from a data
sheet.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Order = Literal["b_first", "a_first", "b_wide", "a_wide", "built"]
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
    """
    training = torch.is_grad_enabled() and (A.requires_grad or B.requires_grad)
    if torch.compiler.is_compiling():  # torch.compile cannot trace a cache
        cheapest = _cheapest_order((COMPILED_ROWS, x.shape[-1]), A.shape, B.shape, x.device.type, training)
    else:
        cheapest = _cheapest_order_cached(x.shape, A.shape, B.shape, x.device.type, training)
    order = order or cheapest
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


def _cheapest_order(x: Sequence[int], A: Sequence[int], B: Sequence[int], device: str, training: bool) -> Order:
    """Return the order with the lowest predicted cost, for the shapes of x, A and B."""
    costs = predict_costs(A, B, math.prod(x[:-1]), device=device, training=training)
    return min(costs, key=lambda order: costs[order])


_cheapest_order_cached = lru_cache(maxsize=4096)(_cheapest_order)


@dataclass(frozen=True)
class Costs:
    """The costs of a device. The unit is one multiply-add in a large matrix product."""

    per_float: float
    per_launch: float
    narrow: int
    batched: float

    def plain(self, m: int, k: int, n: int) -> float:
        """Return the cost of one product (m, k) @ (k, n)."""
        return m * k * max(n, self.narrow) + self.per_float * (m * k + k * n + m * n) + self.per_launch

    def batch(self, N: int, m: int, k: int, n: int) -> float:
        """Return the cost of N products (m, k) @ (k, n) that have the same left matrix."""
        multiply_adds = self.batched * N * m * k * max(n, self.narrow)
        return multiply_adds + self.per_float * (N * n * (m + k) + m * k) + self.per_launch

    def fill(self, m: int, n: int) -> float:
        """Return the cost of writing a factor, or a whole Kronecker product, into a matrix (m, n)."""
        return 2 * self.per_float * m * n + 2 * self.per_launch


# The CPU is one core with AVX-512. The GPU is a data-centre GPU. The costs of the GPU are not measured, but derived
# from its data sheet (20 TFLOP/s, 2 TB/s, 5 µs for a launch).
COSTS = {
    "cpu": Costs(per_float=12.0, per_launch=4e5, narrow=16, batched=1.3),
    "cuda": Costs(per_float=20.0, per_launch=5e7, narrow=32, batched=1.5),
}


def predict_costs(
    shape_a: Sequence[int], shape_b: Sequence[int], rows: int, *, device: str = "cpu", training: bool = False
) -> dict[Order, float]:
    """Return the predicted cost of each order for a number of tokens (``rows``).

    Args:
        shape_a, shape_b: the shapes of A and B, with the number of terms if they have a leading dimension.
        device: the device type, as in torch. An unknown type has the costs of a GPU.
        training: add the costs of the backward pass.
    """
    (a1, a2), (b1, b2), N, T = shape_a[-2:], shape_b[-2:], rows, shape_a[0] if len(shape_a) == 3 else 1
    c = COSTS.get(device, COSTS["cuda"])
    d_in, d_out = a1 * b1, a2 * b2

    b_first = c.plain(N * a1, b1, T * b2) + c.batch(N, a2, a1 * T, b2)
    a_first = c.batch(N, a2 * T, a1, b1) + c.plain(N * a2, T * b1, b2)
    built = T * c.fill(d_in, d_out) + c.plain(N, d_in, d_out)
    if training:  # add the costs of the gradients of the intermediate result, x, B and A
        b_first += c.batch(N, a1 * T, a2, b2) + c.plain(N * a1, T * b2, b1)
        b_first += c.plain(b1, N * a1, T * b2) + c.batch(N, a1 * T, b2, a2) + c.per_float * N * a1 * T * a2
        a_first += c.plain(N * a2, b2, T * b1) + c.batch(N, a1, a2 * T, b1)
        a_first += c.plain(T * b1, N * a2, b2) + c.batch(N, a1, b1, a2 * T) + c.per_float * N * a1 * T * a2
        built += 2 * c.plain(N, d_in, d_out) + 2 * T * c.fill(d_in, d_out)

    def wide(rank: int) -> float:
        factors = c.fill(d_in, rank) + c.fill(rank, d_out)
        cost = factors + c.plain(N, d_in, rank) + c.plain(N, rank, d_out)
        if training:
            cost += c.plain(N, d_out, rank) + c.plain(N, rank, d_in)
            cost += c.plain(d_in, N, rank) + c.plain(rank, N, d_out) + factors
        return cost

    return {
        "b_first": b_first,
        "a_first": a_first,
        "b_wide": wide(a1 * T * b2),
        "a_wide": wide(a2 * T * b1),
        "built": built,
    }
