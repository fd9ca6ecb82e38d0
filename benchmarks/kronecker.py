"""bench=kronecker: time a linear layer to which a Kronecker product is added, forward and backward.

The factors of the product can be applied in several orders of computation. The order that krona's planner chooses is
compared with the fastest order, with LoRA of rank 1, and with building the product as a matrix. The shapes of A are the
paper's seven shapes and random other shapes (from a fixed seed). An order is not timed if the cost model predicts that
it is ten times slower than the best order.

``floor`` is the frozen layer, for which only the gradient of the input is computed. For ``full``, the gradient of the
weight is computed too.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from benchmarks.settings import Bench, Row, Say, Work, settings
from benchmarks.timing import timed_rounds
from krona.kernels.cost_model import Order, Product
from krona.kernels.kronecker import kron_matmul
from krona.methods.factor_shapes import Shape, factor_b, factor_shapes, fitting_shapes, shape_name
from krona.tasks.data_settings import Positive

COLUMNS = {
    "name": "order", "shape": "A", "d_in": "in", "d_out": "out", "tokens": "rows", "median_s": "fwd+bwd",
    "spread": "spread", "ratio_to_floor": "/ layer", "ratio_to_lora": "/ lora", "ratio_to_best": "/ best",
    "planned": "planned", "best": "best",
}  # fmt: skip
PLANNED = "krona"  # the contestant that uses the order which the planner chooses
SHOWN = (PLANNED, "lora", "krona/built")
MAX_COST = 10.0  # orders are timed if their predicted cost, relative to the lowest predicted cost, is below this
Call = Callable[[], None]


@settings
class Options:
    """The settings of this benchmark."""

    shapes: list[list[int]] = field(default_factory=list)
    """The shapes of A on a layer from ``width`` to ``width``."""
    more_shapes: int = 20
    """The number of random other shapes on such a layer."""
    oblong_shapes: int = 10
    """The number of random shapes on layers from ``width`` to ``inner`` and from ``inner`` to ``width``."""
    rows: list[Positive] = field(default_factory=lambda: [512, 3200])
    """The numbers of tokens. Each number gives one measurement of each layer."""
    width: int = 768
    inner: int = 3072


@dataclass(frozen=True)
class BenchLayer:
    """A linear layer and a shape of A."""

    kind: str  # ``paper`` for the paper's shapes, ``square`` or ``oblong`` for random shapes
    d_in: int
    d_out: int
    shape: Shape

    @property
    def shape_b(self) -> Shape:
        return factor_b(self.shape, self.d_in, self.d_out)


def measure(work: Work) -> list[Row]:
    bench, options = work.bench, work.bench.own(Options)
    for shape in options.shapes:
        factor_shapes([shape], options.width, options.width)  # raises an error if the shape does not fit
    cases = [(layer, tokens) for layer in build_layers(options, seed=bench.seed) for tokens in options.rows]
    deadline = time.perf_counter() + 60 * bench.minutes
    rows: list[Row] = []
    for number, (layer, tokens) in enumerate(cases):
        (a1, a2), left = layer.shape, len(cases) - number
        work.say(f"{number + 1}/{len(cases)}  ({a1}, {a2}) on {layer.d_in} → {layer.d_out}, {tokens} rows")
        minutes = max(0.0, deadline - time.perf_counter()) / 60 / left  # divides the remaining time
        rows += _measure_layer(replace(bench, minutes=minutes), layer, tokens=tokens, say=work.say)
    return rows


def build_layers(options: Options, *, seed: int) -> list[BenchLayer]:
    """Return the layers with the paper's shapes, then those with random shapes, oblong layers in both directions."""
    drawn, width, inner = random.Random(seed), options.width, options.inner
    paper = [(a1, a2) for a1, a2 in options.shapes]

    def draw(kind: str, d_in: int, d_out: int, count: int) -> list[BenchLayer]:
        # only shapes with at most eight times the smallest possible number of parameters
        size = {a: math.prod(a) + math.prod(factor_b(a, d_in, d_out)) for a in fitting_shapes(d_in, d_out, smallest=2)}
        near = sorted(a for a, parameters in size.items() if parameters <= 8 * min(size.values()) and a not in paper)
        return [BenchLayer(kind, d_in, d_out, shape) for shape in drawn.sample(near, min(count, len(near)))]

    layers = [BenchLayer("paper", width, width, shape) for shape in paper]
    layers += draw("square", width, width, options.more_shapes)
    layers += draw("oblong", width, inner, options.oblong_shapes - options.oblong_shapes // 2)
    return layers + draw("oblong", inner, width, options.oblong_shapes // 2)


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
            "kind": layer.kind,
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
    """Return a dict from each contestant to a function that runs its forward and backward pass.

    The gradients of the input and of the trainable weights are computed.
    """
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
