"""Multiply-adds and launches that branches add to a forward, counted as they are dispatched; no formula."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from krona.surgery.layers import is_norm
from krona.surgery.targets import widths_at
from krona.surgery.wrapper import Adapted, adapted_modules


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
    for _, adapted in adapted_modules(model):
        shapes = tuple((name, tuple(p.shape)) for name, p in adapted.own_parameters("default"))
        key = (type(adapted.base), widths_at(adapted, "default"), adapted.places["default"], shapes)
        known[key] = known[key] if key in known else counted(adapted)
        total += known[key]
    return total


def _added(adapted: Adapted, tokens: int, counted: Callable[[Callable[[], Any]], int]) -> int:
    """What one forward at a place counts more than its base alone."""
    base = adapted.base
    d_in, d_out = widths_at(adapted, "default")
    like = next(base.parameters())
    x = torch.zeros(1, tokens, d_in, device=like.device, dtype=like.dtype)
    block = not isinstance(base, nn.Linear) and not is_norm(base)
    if block or adapted.entrances:  # no branch is computed with it
        base = _Silent(torch.zeros(1, tokens, d_out, device=like.device, dtype=like.dtype))
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
