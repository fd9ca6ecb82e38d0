"""Costs of each method, counted on the meta device: no weights, no data, seconds for any size (`krona params`).

Every figure is counted on the model with the method in it, none is from a formula.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from krona import surgery
from krona.backbones.with_method import insert_method
from krona.config.settings import Method
from krona.paper import read_paper_table
from krona.params.shapes import ShapeRow
from krona.surgery.adapter_file import file_bytes
from krona.surgery.layers import is_norm
from krona.surgery.targets import widths_at
from krona.surgery.wrapper import Adapted

PRINTING_RULE = "Table 1's Params column cuts after two decimals: 0.1260 → 0.12, 0.0726 → 0.07, 0.0627 → 0.06"


@dataclass(frozen=True)
class MethodRow:
    """One method on one backbone."""

    method: str
    trainable_params: int
    trainable_percent: float  # of the backbone before insertion
    printed_percent: float  # the same under the paper's rule
    paper_percent: float | None  # Table 1's Params column
    update_rank: int | None  # the highest rank that the update of one layer or block can have; None: no linear map
    file_bytes: int  # the adapter's file
    multiply_adds: int  # of all branches' matrix products, one token at each place, unmerged
    launches: int  # kernels that one forward gains, unmerged
    head_params: int = 0  # of a head of two classes that is new on each task and trains with every method


def method_row(model: nn.Module, method: Method, *, counterparts: Mapping[str, Any] | None = None) -> MethodRow:
    """One method's row. ``model``: on the meta device (`krona.backbones.load.meta_model`), left unchanged."""
    insert_method(model, method, counterparts=counterparts or {})
    try:
        count = surgery.count(model)
        return MethodRow(
            method=method.name,
            trainable_params=count.trainable,
            trainable_percent=count.percent,
            printed_percent=printed_percent(count.percent),
            paper_percent=read_paper_table("1").value(method.name, "params"),
            update_rank=surgery.update_rank(model),
            file_bytes=file_bytes(model) if count.trainable or count.head else 0,
            multiply_adds=multiply_adds(model),
            launches=launches(model),
            head_params=count.head,
        )
    finally:
        surgery.take_out(model)


def printed_percent(percent: float) -> float:
    """A percentage as Table 1 prints it: cut, not rounded, after two decimals."""
    return math.floor(percent * 100 + 1e-9) / 100


def multiply_adds(model: nn.Module) -> int:
    """Multiply-adds of the branches' matrix products for one more token at every place."""
    # three tokens less two: what is built once a forward is not a token's cost
    return _over_places(model, lambda adapted: _added(adapted, 3, _products) - _added(adapted, 2, _products))


def launches(model: nn.Module) -> int:
    """Operations that the branches add to one forward (batch 1, 10 tokens), views left out.

    An operation is about one kernel on a GPU, and at batch 1 the launches are the latency (docs/fidelity.md, Table 2).
    """
    return _over_places(model, lambda adapted: _added(adapted, 10, lambda call: dispatched(call).total()))


def _over_places(model: nn.Module, counted: Callable[[Adapted], int]) -> int:
    """The sum over all places; places of the same kind, widths and branches are counted once and multiplied."""
    known: dict[Any, int] = {}
    total = 0
    for _, adapted in surgery.adapted_modules(model):
        shapes = tuple((name, tuple(p.shape)) for name, p in adapted.own_parameters("default"))
        key = (type(adapted.base), widths_at(adapted, "default"), adapted.places["default"], shapes)
        known[key] = known[key] if key in known else counted(adapted)
        total += known[key]
    return total


def _added(adapted: Adapted, tokens: int, counted: Callable[[Callable[[], Any]], int]) -> int:
    """What one forward at a place counts more than its base alone."""
    base = adapted.base
    d_in, d_out = widths_at(adapted, "default")
    device = next(base.parameters()).device
    x = torch.empty(1, tokens, d_in, device=device)
    block = not isinstance(base, nn.Linear) and not is_norm(base)
    if block or adapted.entrances:  # no branch is computed with it
        base = _Silent(torch.empty(1, tokens, d_out, device=device))
    alone = Adapted(base)
    alone.branches, alone.magnitudes = adapted.branches, adapted.magnitudes
    alone.places, alone.active = adapted.places, adapted.active
    return counted(lambda: alone(x)) - counted(lambda: base(x))


class _Silent(nn.Module):
    """A block's output without its computation."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        return self.output


@torch.no_grad()
def dispatched(call: Callable[[], Any]) -> Counter[str]:
    """Operations that reach a device in a call, by name, views left out; ``total()`` of them are the launches."""
    with _Operations() as operations:
        call()
    counts: Counter[str] = operations.counts
    return counts


@torch.no_grad()
def _products(call: Callable[[], Any]) -> int:
    """Multiply-adds of a call's matrix products."""
    with _Operations() as operations:
        call()
    return int(operations.multiply_adds)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that reach a device, and the multiply-adds of those that are matrix products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self.multiply_adds = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        if not func.is_view and name not in ("_unsafe_view", "detach"):
            self.counts[name] += 1
        if func._overloadpacket in flop_registry:
            self.multiply_adds += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=output) // 2
        return output


def as_json(rows: Iterable[MethodRow | ShapeRow]) -> str:
    """A list of rows."""
    return json.dumps([row.__dict__ for row in rows], indent=1)
