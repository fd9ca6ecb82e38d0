"""bench=kronecker: one linear layer with a Kronecker product beside it, forward and backward, by every order.

The planner's choice against the best of the orders, against LoRA of rank 1, and against building the product, at the
paper's seven shapes and at seeded others. Orders that the model predicts to cost ten times the best are left out.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from krona.bench.rounds import timed_rounds
from krona.bench.settings import Bench
from krona.methods.kron_plan import Order, merging_pays, plan, predicted_costs
from krona.methods.kron_product import kron_linear, low_rank_linear
from krona.methods.kron_shapes import fitting_shapes

Row = dict[str, Any]
Shape = tuple[int, int]
LEFT_OUT = 10.0  # times the cheapest prediction


def measure(bench: Bench, say: Callable[[str], None]) -> list[Row]:
    layers = layers_of(
        paper=[(int(a1), int(a2)) for a1, a2 in bench.options["shapes"]],
        square=int(bench.options["more_shapes"]),
        oblong=int(bench.options["oblong_shapes"]),
        seed=bench.seed,
    )
    sizes = [int(rows) for rows in bench.options["rows"]]
    rows: list[Row] = []
    for number, (kind, d_in, d_out, shape) in enumerate(layers):
        for tokens in sizes:
            say(f"{number + 1}/{len(layers)}  ({shape[0]}, {shape[1]}) on {d_in} → {d_out}, {tokens} rows")
            minutes = bench.minutes / (len(layers) * len(sizes))
            rows += _one_layer(bench, kind, d_in, d_out, shape, tokens=tokens, minutes=minutes, say=say)
    return rows


def layers_of(
    *, paper: Sequence[Shape], square: int, oblong: int, seed: int, width: int = 768, inner: int = 3072
) -> list[tuple[str, int, int, Shape]]:
    """(kind, d_in, d_out, shape of A): the paper's, then seeded ones, in both directions for the oblong."""
    drawn = random.Random(seed)

    def draw(d_in: int, d_out: int, count: int) -> list[Shape]:
        # near the paper's budget: at most eight times the smallest number of parameters
        size = {a: a[0] * a[1] + (d_in // a[0]) * (d_out // a[1]) for a in fitting_shapes(d_in, d_out, smallest=2)}
        near = [a for a, parameters in size.items() if parameters <= 8 * min(size.values()) and a not in paper]
        return drawn.sample(sorted(near), count)

    layers = [("paper", width, width, shape) for shape in paper]
    layers += [("square", width, width, shape) for shape in draw(width, width, square)]
    layers += [("oblong", width, inner, shape) for shape in draw(width, inner, oblong - oblong // 2)]
    return layers + [("oblong", inner, width, shape) for shape in draw(inner, width, oblong // 2)]


def _one_layer(
    bench: Bench,
    kind: str,
    d_in: int,
    d_out: int,
    shape: Shape,
    *,
    tokens: int,
    minutes: float,
    say: Callable[[str], None],
) -> list[Row]:
    torch.manual_seed(bench.seed)
    shape_b = (d_in // shape[0], d_out // shape[1])
    layer = nn.Linear(d_in, d_out, bias=False).requires_grad_(False)
    x, g = torch.randn(tokens, d_in, requires_grad=True), torch.randn(tokens, d_out)
    A, B = (torch.randn(*sides, requires_grad=True) for sides in (shape, shape_b))
    U, V = torch.randn(d_in, 1, requires_grad=True), torch.randn(1, d_out, requires_grad=True)

    def step(forward: Callable[[], Tensor], *trained: Tensor) -> Callable[[], None]:
        def call() -> None:
            torch.autograd.grad(forward(), [x, *trained], g)

        return call

    costs = predicted_costs(shape, shape_b, rows=tokens, training=True)
    best_predicted = min(costs.values())
    orders: list[Order] = [o for o, cost in costs.items() if o != "built" and cost < LEFT_OUT * best_predicted]

    def by(order: Order, merge: bool) -> Callable[[], Tensor]:
        return lambda: kron_linear(layer, x, A, B, order=order, merge=merge)

    calls = {
        "floor": step(lambda: layer(x)),
        "lora": step(lambda: low_rank_linear(layer, x, U, V), U, V),
        "krona": step(lambda: kron_linear(layer, x, A, B), A, B),
        "krona/built": step(lambda: layer(x) + x @ torch.kron(A, B), A, B),
    }
    calls |= {f"krona/{order}": step(by(order, False), A, B) for order in orders}
    factored: list[Order] = [order for order in orders if order in ("b_first", "a_first")]
    calls |= {f"krona/{order} merged": step(by(order, True), A, B) for order in factored}
    timed = timed_rounds(
        calls,
        rounds=bench.rounds,
        warm_up=bench.warm_up,
        minutes=minutes,
        mark_load=bench.load == "mark",
        seed=bench.seed,
        say=say,
    )
    others = [name for name in calls if name.startswith("krona/")]
    best = min(others, key=timed.median)
    planned = plan(shape, shape_b, rows=tokens, training=True)
    merged = planned in factored and merging_pays(shape, shape_b, rows=tokens, order=planned)
    return [
        {
            "name": name,
            "shape": f"{shape[0]}x{shape[1]}",
            "kind": kind,
            "d_in": d_in,
            "d_out": d_out,
            "tokens": tokens,
            "median_s": timed.median(name),
            "spread": timed.spread(name),
            "ratio_to_full": None,
            "ratio_to_floor": timed.ratio(name, "floor"),
            "ratio_to_lora": timed.ratio(name, "lora"),
            "ratio_to_best": timed.ratio(name, best) if name.startswith("krona") else None,
            "planned": f"{planned}{' merged' if merged else ''}" if name == "krona" else None,
            "best": best.removeprefix("krona/") if name == "krona" else None,
            "predicted": costs.get(name.removeprefix("krona/")) if "/" in name else None,  # type: ignore[call-overload]
            "rounds": len(timed.seconds[name]),
            "disturbed_rounds": timed.disturbed,
        }
        for name in calls
    ]
