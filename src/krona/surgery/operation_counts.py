"""Count the multiply-adds and kernel launches that branches add to a forward pass.

The multiply-adds are counted as follows:

- A matrix product (m, k) @ (k, n) has m·k·n.
- An elementwise product or quotient has one for each element.
- A product of weights, which runs once for each forward pass, is not counted.
- Sums and activation functions are not counted.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from krona.surgery.layers import is_norm
from krona.surgery.state import adapted_modules, prompt_length
from krona.surgery.target_modules import widths_at
from krona.surgery.wrapper import Adapted

PRODUCTS = ("mul", "div", "addcmul", "addcdiv", "square")  # elementwise operations


def added_costs(model: nn.Module) -> dict[str, int]:
    """Return the costs that all branches add: ``multiply_adds`` and ``launches``.

    The result is empty if the branches cannot run on the model's device, as some layers of peft on the meta device, and
    for a prompt, whose costs are those of longer inputs.
    """
    if prompt_length(model):
        return {}
    try:
        return {"multiply_adds": multiply_adds(model), "launches": launches(model)}
    except RuntimeError:
        if not any(branch.computes_layer for _, at in adapted_modules(model) for branch in at.own_branches()):
            raise  # an error in a user's own branch
        return {}


def multiply_adds(model: nn.Module) -> int:
    """Return the number of multiply-adds that all branches add for each token."""
    three, two = (_over_modules(model, tokens, lambda call: _run(call).multiply_adds) for tokens in (3, 2))
    return round(three - two)


def launches(model: nn.Module) -> int:
    """Return the number of operations that the branches add to one forward pass (batch 1, 10 tokens).

    Views are not counted. On a GPU, one operation is about one kernel launch. For batches of one row, the number of
    launches determines the latency (docs/notebook.md, Table 2).
    """
    return round(_over_modules(model, 10, lambda call: dispatched(call).total()))


def dispatched(call: Callable[[], Any]) -> Counter[str]:
    """Run a call, and return how often each operation runs on the device. Views are not counted."""
    return _run(call).counts


def _over_modules(model: nn.Module, tokens: int, count: Callable[[Callable[[], Any]], float]) -> float:
    known: dict[Any, float] = {}  # equal modules are measured only once
    total = 0.0
    for _, adapted in adapted_modules(model):
        shapes = tuple((name, tuple(p.shape)) for name, p in adapted.own_parameters())
        key = (type(adapted.base), widths_at(adapted), adapted.placement, shapes)
        if key not in known:
            known[key] = _added(adapted, tokens, count)
        total += known[key]
    return total


def _added(adapted: Adapted, tokens: int, count: Callable[[Callable[[], Any]], float]) -> float:
    base = adapted.base
    d_in, d_out = widths_at(adapted)
    like = next(p for p in adapted.parameters() if p.is_floating_point())  # a base in 4 bits may have no such weight
    x, y = (torch.zeros(1, tokens, width, device=like.device, dtype=like.dtype) for width in (d_in, d_out))
    training, adapted.training = adapted.training, False  # without dropout
    try:
        if adapted.capture or not (isinstance(base, nn.Linear) or is_norm(base)):  # run only the branches of a block
            return count(lambda: adapted.update(y, x))
        return count(lambda: adapted(x)) - count(lambda: base(x))
    finally:
        adapted.training = training


def _run(call: Callable[[], Any]) -> "_Operations":
    operations = _Operations()
    with torch.no_grad(), operations:
        call()
    return operations


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that run on the device, and their multiply-adds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self.multiply_adds = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        if not func.is_view and name not in ("_unsafe_view", "detach"):
            self.counts[name] += 1
        if func._overloadpacket in flop_registry:
            self.multiply_adds += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=output) / 2
        elif name.rstrip("_") in PRODUCTS:
            self.multiply_adds += output.numel()
        elif name == "mv":
            self.multiply_adds += args[0].numel()
        return output
