"""Predict the costs of the five contraction orders of a Kronecker product (`krona.kernels.kronecker`).

The unit of a cost is one multiply-add of a large matrix product. The cost of a product (m, k) @ (k, n) is the sum of
three parts:

- m·k·n for the multiply-adds. If n is below ``narrow``, ``narrow`` replaces n, because fewer columns do not fill a
  vector register and save no time. For products that are batched over tokens, this part is multiplied by ``batched``.
- ``per_float`` for each number that is read or written.
- ``per_launch`` for the launch of the operation.

The costs of a CPU are fitted to the measurements in docs/results/kronecker.json. The costs of a
GPU come from a data sheet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Order = Literal["b_first", "a_first", "b_wide", "a_wide", "built"]
ORDERS: tuple[Order, ...] = get_args(Order)


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


@dataclass(frozen=True)
class Product:
    """The product of tokens with a sum of Kronecker products A ⊗ B."""

    shape_a: Sequence[int]  # (a1, a2)
    shape_b: Sequence[int]  # (b1, b2)
    rows: int  # the number of tokens
    terms: int = 1  # the number of Kronecker products in the sum
    device: str = "cpu"  # the device type, as in torch; an unknown type has the costs of a GPU

    def plan(self, *, training: bool = False) -> Order:
        """Return the order with the lowest predicted cost."""
        costs = self.predicted_costs(training=training)
        return min(costs, key=lambda order: costs[order])

    def predicted_costs(self, *, training: bool = False) -> dict[Order, float]:
        """Return the predicted cost of each order, including the backward pass if ``training`` is true."""
        (a1, a2), (b1, b2), N, T = self.shape_a, self.shape_b, self.rows, self.terms
        c = COSTS.get(self.device, COSTS["cuda"])
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
