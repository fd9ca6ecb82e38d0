"""bench=kronecker: one linear layer with a Kronecker product beside it, forward and backward, by every order.

The planner's choice against the best of the orders, against LoRA of rank 1, and against building the product, at the
paper's seven shapes and at seeded others. Orders that the model predicts to cost ten times the best are left out.
`floor` is the frozen layer with the gradient of its input, `full` the layer with its weight's gradient too.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from benchmarks.report import cell
from benchmarks.settings import Bench, Row, Say, Work, settings
from benchmarks.timing import timed_rounds
from krona.kernels.cost_model import Order, merging_pays, plan, predicted_costs
from krona.kernels.kronecker import kron_linear, low_rank_linear
from krona.messages import KronaError
from krona.methods.factor_shapes import factor_shapes, fitting_shapes

COLUMNS = {
    "name": "order", "shape": "A", "d_in": "in", "d_out": "out", "tokens": "rows", "median_s": "fwd+bwd",
    "spread": "spread", "ratio_to_floor": "/ layer", "ratio_to_lora": "/ lora", "ratio_to_best": "/ best",
    "planned": "planned", "best": "best",
}  # fmt: skip
PLOT = ("ratio_to_floor", "krona: forward and backward over the frozen layer's")
SHOWN, PLOTTED = ("krona", "lora", "krona/built"), ("krona",)
DETAIL = "{shape}  {d_in} → {d_out}, {tokens} rows"
Shape = tuple[int, int]
Call = Callable[[], None]
LEFT_OUT = 10.0  # times the cheapest prediction
SHIPPED = "krona"
MERGEABLE = ("b_first", "a_first")  # orders that may be done with the merged weight


@settings
class Options:
    """shapes: of A, on a square layer; more_shapes: seeded others; oblong_shapes: of layers width ↔ inner; rows:
    tokens."""

    shapes: list[list[int]] = field(default_factory=list)
    more_shapes: int = 20
    oblong_shapes: int = 10
    rows: list[int] = field(default_factory=lambda: [512, 3200])
    width: int = 768
    inner: int = 3072


@dataclass(frozen=True)
class Layer:
    """kind: paper, square or oblong; shape: of A."""

    kind: str
    d_in: int
    d_out: int
    shape: Shape

    @property
    def shape_b(self) -> Shape:
        return self.d_in // self.shape[0], self.d_out // self.shape[1]


def measure(work: Work) -> list[Row]:
    bench, options = work.bench, work.bench.own(Options)
    for shape in options.shapes:
        factor_shapes([shape], options.width, options.width)
    for tokens in options.rows:
        if tokens < 1:
            raise KronaError(f"bench.options.rows={options.rows}: {tokens} is too small, each must be at least 1")
    cases = [(layer, tokens) for layer in layers_of(options, seed=bench.seed) for tokens in options.rows]
    deadline = time.perf_counter() + 60 * bench.minutes
    rows: list[Row] = []
    for number, (layer, tokens) in enumerate(cases):
        (a1, a2), left = layer.shape, len(cases) - number
        work.say(f"{number + 1}/{len(cases)}  ({a1}, {a2}) on {layer.d_in} → {layer.d_out}, {tokens} rows")
        minutes = max(0.0, deadline - time.perf_counter()) / 60 / left  # fast layers leave theirs to slow ones
        rows += _one_layer(replace(bench, minutes=minutes), layer, tokens=tokens, say=work.say)
    return rows


def layers_of(options: Options, *, seed: int) -> list[Layer]:
    """The paper's, then seeded ones, in both directions for the oblong."""
    drawn, width, inner = random.Random(seed), options.width, options.inner
    paper = [(a1, a2) for a1, a2 in options.shapes]

    def draw(kind: str, d_in: int, d_out: int, count: int) -> list[Layer]:
        # near the paper's budget: at most eight times the smallest number of parameters
        size = {a: a[0] * a[1] + (d_in // a[0]) * (d_out // a[1]) for a in fitting_shapes(d_in, d_out, smallest=2)}
        near = sorted(a for a, parameters in size.items() if parameters <= 8 * min(size.values()) and a not in paper)
        return [Layer(kind, d_in, d_out, shape) for shape in drawn.sample(near, min(count, len(near)))]

    layers = [Layer("paper", width, width, shape) for shape in paper]
    layers += draw("square", width, width, options.more_shapes)
    layers += draw("oblong", width, inner, options.oblong_shapes - options.oblong_shapes // 2)
    return layers + draw("oblong", inner, width, options.oblong_shapes // 2)


def _one_layer(bench: Bench, at: Layer, *, tokens: int, say: Say) -> list[Row]:
    costs = predicted_costs(at.shape, at.shape_b, rows=tokens, training=True)
    orders: list[Order] = [o for o, cost in costs.items() if o != "built" and cost < LEFT_OUT * min(costs.values())]
    calls = _contestants(at, tokens, orders, seed=bench.seed)
    timed = timed_rounds(bench, calls, say=say)
    best = min((name for name in calls if name.startswith("krona/")), key=timed.median)
    order = plan(at.shape, at.shape_b, rows=tokens, training=True)
    merged = order in MERGEABLE and merging_pays(at.shape, at.shape_b, rows=tokens, order=order)
    planned = f"{order} merged" if merged else order
    rows = []
    for name in calls:
        ours, shipped = name.startswith("krona"), name == SHIPPED
        row = {
            **timed.row(name, shape=f"{at.shape[0]}x{at.shape[1]}"),
            "kind": at.kind,
            "d_in": at.d_in,
            "d_out": at.d_out,
            "tokens": tokens,
            "ratio_to_floor": timed.ratio(name, "floor"),
            "ratio_to_lora": timed.ratio(name, "lora"),
            "ratio_to_best": timed.ratio(name, best) if ours else None,
            "ratio_to_built": timed.ratio(name, "krona/built") if ours else None,
            "planned": planned if shipped else None,
            "best": best.removeprefix("krona/") if shipped else None,
            "predicted": costs.get(name.removeprefix("krona/")),  # type: ignore[call-overload]
        }
        rows.append(row)
    return rows


def _contestants(at: Layer, tokens: int, orders: Sequence[Order], *, seed: int) -> dict[str, Call]:
    """One step of each: forward, and backward to the input and to what trains."""
    torch.manual_seed(seed)
    layer = nn.Linear(at.d_in, at.d_out, bias=False).requires_grad_(False)
    weight = layer.weight.detach().requires_grad_()
    x, g = torch.randn(tokens, at.d_in, requires_grad=True), torch.randn(tokens, at.d_out)
    A, B = (torch.randn(*sides, requires_grad=True) for sides in (at.shape, at.shape_b))
    U, V = torch.randn(at.d_in, 1, requires_grad=True), torch.randn(1, at.d_out, requires_grad=True)

    def step(forward: Callable[[], Tensor], *trained: Tensor) -> Call:
        def call() -> None:
            torch.autograd.grad(forward(), [x, *trained], g)

        return call

    def by(order: Order, merge: bool) -> Call:
        return step(lambda: kron_linear(layer, x, A, B, order=order, merge=merge), A, B)

    calls = {
        "floor": step(lambda: layer(x)),
        "full": step(lambda: nn.functional.linear(x, weight), weight),
        "lora": step(lambda: low_rank_linear(layer, x, U, V), U, V),
        SHIPPED: step(lambda: kron_linear(layer, x, A, B), A, B),
        "krona/built": step(lambda: layer(x) + x @ torch.kron(A, B), A, B),
    }
    calls |= {f"krona/{order}": by(order, False) for order in orders}
    return calls | {f"krona/{order} merged": by(order, True) for order in orders if order in MERGEABLE}


def conclusions(rows: Sequence[Row]) -> list[str]:
    """How near the planner comes to the best order, and the largest ratios."""
    krona = [row for row in rows if row["name"] == SHIPPED]
    near = sum(row["ratio_to_best"] <= 1.1 for row in krona)
    built, at_paper = (
        max((row[key] for row in krona if row["kind"] in kinds), default=None)
        for key, kinds in (("ratio_to_built", ("paper", "square", "oblong")), ("ratio_to_lora", ("paper",)))
    )
    return [
        f"planned within 1.1 × of the best order: {near} of {len(krona)}",
        f"krona over the product built: at most {cell('ratio', built)}; over lora at the paper's shapes: "
        f"at most {cell('ratio', at_paper)}",
    ]
