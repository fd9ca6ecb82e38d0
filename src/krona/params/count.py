"""What each method costs, counted on the meta device: no weights, no data, seconds for any size (`krona params`).

Every figure is read off the inserted model itself, none from a formula beside it.
"""

import json
import math
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
    launches: int  # kernels that one forward gains, views and copies of none left out, unmerged


def method_row(model: nn.Module, method: Method, *, counterparts: Mapping[str, Any] | None = None) -> MethodRow:
    """One method's row. ``model``: a T5 on the meta device (`krona.backbones.load.meta_model`); it is left as it was."""
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
            file_bytes=file_bytes(model) if count.trainable else 0,
            multiply_adds=multiply_adds(model),
            launches=launches(model),
        )
    finally:
        surgery.take_out(model)


def printed_percent(percent: float) -> float:
    """A percentage as Table 1 prints it: cut, not rounded, after two decimals."""
    return math.floor(percent * 100 + 1e-9) / 100


def multiply_adds(model: nn.Module) -> int:
    """Multiply-adds of the branches' matrix products for one more token at every place."""

    def counted(adapted: Adapted, tokens: int) -> int:
        products, of_base = Products(), Products()
        _run_alone(adapted, tokens, products)
        _of_base(adapted, tokens, of_base)
        return products.multiply_adds - of_base.multiply_adds

    # three tokens less two: what is built once a forward is not a token's cost
    return _over_places(model, lambda adapted: counted(adapted, 3) - counted(adapted, 2))


def launches(model: nn.Module) -> int:
    """Operations that the branches add to one forward (batch 1, 10 tokens), views left out.

    One operation is one kernel or so on a GPU, and at batch 1 the launches are the latency (docs/fidelity.md, Table 2).
    """

    def counted(adapted: Adapted) -> int:
        dispatched, of_base = Dispatched(), Dispatched()
        _run_alone(adapted, 10, dispatched)
        _of_base(adapted, 10, of_base)
        return dispatched.count - of_base.count

    return _over_places(model, counted)


def _over_places(model: nn.Module, counted: Callable[[Adapted], int]) -> int:
    """The sum over all places; places of the same kind, widths and branches are counted once and multiplied."""
    known: dict[Any, int] = {}
    total = 0
    for _, adapted in surgery.adapted_modules(model):
        shapes = tuple((name, tuple(p.shape)) for name, p in adapted.own_parameters("default"))
        key = (type(adapted.base), surgery.widths(adapted.base), adapted.places["default"], shapes)
        known[key] = known[key] if key in known else counted(adapted)
        total += known[key]
    return total


def _run_alone(adapted: Adapted, tokens: int, mode: TorchDispatchMode) -> None:
    """One forward of what stands at a place, under ``mode``; a block that it stands at computes nothing."""
    d_in, d_out = surgery.widths(adapted.base)
    device = next(adapted.base.parameters()).device
    base = adapted.base if _is_layer(adapted.base) else _Silent(torch.empty(1, tokens, d_out, device=device))
    alone = Adapted(base)
    alone.branches, alone.magnitudes = adapted.branches, adapted.magnitudes
    alone.places, alone.active = adapted.places, adapted.active
    x = torch.empty(1, tokens, d_in, device=device)
    with torch.no_grad(), mode:
        alone(x)


def _of_base(adapted: Adapted, tokens: int, mode: TorchDispatchMode) -> None:
    """The same of the base alone."""
    if _is_layer(adapted.base):
        x = torch.empty(1, tokens, surgery.widths(adapted.base)[0], device=next(adapted.base.parameters()).device)
        with torch.no_grad(), mode:
            adapted.base(x)


def _is_layer(module: nn.Module) -> bool:
    """A linear layer or a LayerNorm: a branch may be computed in one step with it."""
    return isinstance(module, nn.Linear) or type(module).__name__.endswith("Norm")


class _Silent(nn.Module):
    """Stands in for a block: an output that costs nothing."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        return self.output


class Dispatched(TorchDispatchMode):
    """Counts the operations that reach a device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func._schema.name not in ("aten::_unsafe_view", "aten::detach"):
            self.count += 1
        return func(*args, **(kwargs or {}))


class Products(TorchDispatchMode):
    """Sums up the multiply-adds of the matrix products that reach a device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiply_adds: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.multiply_adds += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=output) // 2
        return output


def as_json(rows: Iterable[MethodRow | ShapeRow]) -> str:
    """A list of rows."""
    return json.dumps([row.__dict__ for row in rows], indent=1)
