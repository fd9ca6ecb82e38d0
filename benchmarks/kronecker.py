"""bench=kronecker: time a linear layer to which a Kronecker product is added, forward and backward.

The factors of the product can be applied in several orders. The order that krona's planner chooses is compared with the
fastest order, with LoRA of rank 1, and with building the product as a matrix. An order is not timed if the cost model
predicts that it is ten times slower than the best order.

``floor`` is the frozen layer, for which only the gradient of the input is computed. For ``full``, the gradient of the
weight is computed too.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from benchmarks.settings import Bench, Row, Say, Work, settings
from benchmarks.timing import timed_rounds
from krona.kernels.cost_model import Order, Product
from krona.kernels.kronecker import kron_matmul
from krona.messages import KronaError
from krona.methods.factor_shapes import Shape, factor_shapes, shape_name
from krona.tasks.data_settings import Positive

COLUMNS = {
    "name": "order", "shape": "A", "d_in": "in", "d_out": "out", "tokens": "rows", "median_s": "fwd+bwd",
    "spread": "spread", "ratio_to_floor": "/ layer", "ratio_to_lora": "/ lora", "ratio_to_best": "/ best",
    "planned": "planned", "best": "best",
}  # fmt: skip
PLANNED = "krona"  # the contestant with the order that the planner chooses
SHOWN = (PLANNED, "lora", "krona/built")
MAX_COST = 10.0  # an order is timed if its predicted cost, divided by the lowest, is below this
Call = Callable[[], None]


@settings
class Options:
    """The settings of this benchmark."""

    layers: list[list[int]]
    """The layers and shapes of A, as [d_in, d_out, a1, a2]."""
    rows: list[Positive] = field(default_factory=lambda: [512, 3200])
    """The numbers of tokens. Each number gives one measurement of each layer."""


@dataclass(frozen=True)
class BenchLayer:
    """A linear layer d_in → d_out, and the shapes of A and B."""

    d_in: int
    d_out: int
    shape: Shape
    shape_b: Shape


def measure(work: Work) -> list[Row]:
    bench, options = work.bench, work.bench.own(Options)
    cases = [(read_layer(values), tokens) for values in options.layers for tokens in options.rows]
    deadline = time.perf_counter() + 60 * bench.minutes
    rows: list[Row] = []
    for number, (layer, tokens) in enumerate(cases):
        (a1, a2), left = layer.shape, len(cases) - number
        work.say(f"{number + 1}/{len(cases)}  ({a1}, {a2}) on {layer.d_in} → {layer.d_out}, {tokens} rows")
        minutes = max(0.0, deadline - time.perf_counter()) / 60 / left  # an equal share of the remaining time
        rows += _measure_layer(replace(bench, minutes=minutes), layer, tokens=tokens, say=work.say)
    return rows


def read_layer(values: Sequence[int]) -> BenchLayer:
    """Parse an entry of ``options.layers``.

    Raises:
        KronaError: the entry does not have four numbers, or the shape of A does not fit the layer.
    """
    if len(values) != 4:
        raise KronaError(f"bench.options.layers: {list(values)} is not [d_in, d_out, a1, a2]. Use four numbers.")
    d_in, d_out, *shape = values
    return BenchLayer(d_in, d_out, *factor_shapes([shape], d_in, d_out))


def _measure_layer(bench: Bench, layer: BenchLayer, *, tokens: int, say: Say) -> list[Row]:
    product = Product(layer.shape, layer.shape_b, tokens)
    costs = product.predicted_costs(training=True)
    orders: list[Order] = [o for o, cost in costs.items() if o != "built" and cost < MAX_COST * min(costs.values())]
    calls = _build_calls(layer, tokens, orders, seed=bench.seed)
    timed = timed_rounds(bench, calls, say=say)
    best = min((name for name in calls if name.startswith("krona/")), key=timed.median)
    planned = product.plan(training=True)
    return [
        {
            **timed.row(name, shape=shape_name(layer.shape)),
            "d_in": layer.d_in,
            "d_out": layer.d_out,
            "tokens": tokens,
            "ratio_to_floor": timed.ratio(name, "floor"),
            "ratio_to_lora": timed.ratio(name, "lora"),
            "ratio_to_best": timed.ratio(name, best) if name.startswith("krona") else None,
            "ratio_to_built": timed.ratio(name, "krona/built") if name.startswith("krona") else None,
            "planned": planned if name == PLANNED else None,
            "best": best.removeprefix("krona/") if name == PLANNED else None,
            "predicted": costs.get(name.removeprefix("krona/")),  # type: ignore[call-overload]
        }
        for name in calls
    ]


def _build_calls(layer: BenchLayer, tokens: int, orders: Sequence[Order], *, seed: int) -> dict[str, Call]:
    """Return a function for each contestant, which computes the gradients of the input and the trainable weights."""
    torch.manual_seed(seed)
    linear = nn.Linear(layer.d_in, layer.d_out, bias=False).requires_grad_(False)
    weight = linear.weight.detach().requires_grad_()
    x, g = torch.randn(tokens, layer.d_in, requires_grad=True), torch.randn(tokens, layer.d_out)
    A, B = (torch.randn(*sides, requires_grad=True) for sides in (layer.shape, layer.shape_b))
    U, V = torch.randn(layer.d_in, 1, requires_grad=True), torch.randn(1, layer.d_out, requires_grad=True)

    def step(forward: Callable[[], Tensor], *trained: Tensor) -> Call:
        def call() -> None:
            torch.autograd.grad(forward(), [x, *trained], g)

        return call

    def in_order(order: Order | None) -> Call:
        return step(lambda: linear(x) + kron_matmul(x, A, B, order=order), A, B)

    calls = {
        "floor": step(lambda: linear(x)),
        "full": step(lambda: nn.functional.linear(x, weight), weight),
        "lora": step(lambda: linear(x) + x @ U @ V, U, V),
        PLANNED: in_order(None),
        "krona/built": in_order("built"),
    }
    return calls | {f"krona/{order}": in_order(order) for order in orders}


def conclusions(rows: Sequence[Row]) -> list[str]:
    """Return a sentence that reports how often the planner's order is at most 10 % slower than the best order."""
    krona = [row for row in rows if row["name"] == PLANNED]
    near = sum(row["ratio_to_best"] <= 1.1 for row in krona)
    return [f"planned order at most 1.1 times as slow as the best order: {near} of {len(krona)} cases"]
