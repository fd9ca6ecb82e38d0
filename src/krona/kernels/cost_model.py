"""A cost model of the five contraction orders of a Kronecker product.

A product (m, k) @ (k, n) is charged its multiply-adds m·k·n (n at least ``narrow``: fewer columns than a vector
register holds are no faster), ``per_float`` for each number that it reads or writes, and ``per_launch``; one that is
batched over tokens is charged ``batched`` times its multiply-adds. The unit is one multiply-add of a large product, so
only ratios of a device's speeds go in. docs/performance.md derives this form; the four numbers of a CPU
are fitted to what `python bench.py bench=kronecker` measures, those of a GPU come from a data sheet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Order = Literal["b_first", "a_first", "b_wide", "a_wide", "built"]
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True)
class Costs:
    """A device's costs, in multiply-adds of one large product."""

    per_float: float
    per_launch: float
    narrow: int
    batched: float

    def plain(self, m: int, k: int, n: int) -> float:
        """(m, k) @ (k, n)."""
        return m * k * max(n, self.narrow) + self.per_float * (m * k + k * n + m * n) + self.per_launch

    def many(self, N: int, m: int, k: int, n: int) -> float:
        """N times (m, k) @ (k, n), of which the first is shared."""
        return (
            self.batched * N * m * k * max(n, self.narrow)
            + self.per_float * (N * n * (m + k) + m * k)
            + self.per_launch
        )

    def laid_out(self, m: int, n: int) -> float:
        """A factor spread over an (m, n) matrix that is mostly zeros, or a product built."""
        return 2 * self.per_float * m * n + 2 * self.per_launch


# One core with AVX-512; and a data-centre GPU by its data sheet (20 TFLOP/s, 2 TB/s, 5 µs a launch), not measured.
COSTS = {
    "cpu": Costs(per_float=12.0, per_launch=4e5, narrow=16, batched=1.3),
    "cuda": Costs(per_float=20.0, per_launch=5e7, narrow=32, batched=1.5),
}


def plan(
    shape_a: Sequence[int],
    shape_b: Sequence[int],
    *,
    rows: int,
    device: str = "cpu",
    terms: int = 1,
    training: bool = False,
) -> Order:
    """The order with the lowest predicted cost for ``rows`` tokens; ``training``: of forward and backward."""
    costs = predicted_costs(tuple(shape_a), tuple(shape_b), rows=rows, device=device, terms=terms, training=training)
    return min(costs, key=lambda order: costs[order])


def predicted_costs(
    shape_a: tuple[int, ...],
    shape_b: tuple[int, ...],
    *,
    rows: int,
    device: str = "cpu",
    terms: int = 1,
    training: bool = False,
) -> dict[Order, float]:
    """Predicted cost of each order, in multiply-adds of one large product."""
    (a1, a2), (b1, b2), N, T = shape_a, shape_b, rows, terms
    d_in, d_out, c = a1 * b1, a2 * b2, costs_of(device)

    b_first = c.plain(N * a1, b1, T * b2) + c.many(N, a2, a1 * T, b2)
    a_first = c.many(N, a2 * T, a1, b1) + c.plain(N * a2, T * b1, b2)
    built = T * c.laid_out(d_in, d_out) + c.plain(N, d_in, d_out)
    if training:  # the intermediate computed again, its gradient, and those of A, B and x
        b_first += c.plain(N * a1, b1, T * b2)
        a_first += c.many(N, a2 * T, a1, b1)
        b_first += c.many(N, a1 * T, a2, b2) + c.plain(N * a1, T * b2, b1)
        b_first += c.plain(b1, N * a1, T * b2) + c.many(N, a1 * T, b2, a2) + c.per_float * N * a1 * T * a2
        a_first += c.plain(N * a2, b2, T * b1) + c.many(N, a1, a2 * T, b1)
        a_first += c.plain(T * b1, N * a2, b2) + c.many(N, a1, b1, a2 * T) + c.per_float * N * a1 * T * a2
        built += 2 * c.plain(N, d_in, d_out) + 2 * T * c.laid_out(d_in, d_out)

    def wide(rank: int) -> float:
        cost = c.laid_out(d_in, rank) + c.laid_out(rank, d_out) + c.plain(N, d_in, rank) + c.plain(N, rank, d_out)
        if training:
            cost += c.plain(N, d_out, rank) + c.plain(N, rank, d_in) + c.plain(d_in, N, rank) + c.plain(rank, N, d_out)
            cost += c.laid_out(d_in, rank) + c.laid_out(rank, d_out)
        return cost

    return {
        "b_first": b_first,
        "a_first": a_first,
        "b_wide": wide(a1 * T * b2),
        "a_wide": wide(a2 * T * b1),
        "built": built,
    }


def merging_pays(
    shape_a: Sequence[int],
    shape_b: Sequence[int],
    *,
    rows: int,
    device: str = "cpu",
    terms: int = 1,
    order: Order = "b_first",
) -> bool:
    """Whether building the merged weight once a step costs less than the three products that it saves.

    These are both of the forward pass and, in the backward pass, the one for the input's gradient.
    """
    (a1, a2), (b1, b2), N, T, c = shape_a, shape_b, rows, terms, costs_of(device)
    if order == "b_first":
        saved = c.plain(N * a1, b1, T * b2) + c.many(N, a2, a1 * T, b2) + c.plain(N * a1, T * b2, b1)
    else:
        saved = c.many(N, a2 * T, a1, b1) + c.plain(N * a2, T * b1, b2) + c.many(N, a1, a2 * T, b1)
    return T * (3 * c.per_float * a1 * b1 * a2 * b2 + 3 * c.per_launch) < saved


def costs_of(device: str) -> Costs:
    """A device's costs; an unknown device counts as a GPU."""
    return COSTS.get(device, COSTS["cuda"])
