"""Count the multiply-adds and kernel launches that branches add to a forward pass.

The multiply-adds are counted as follows:

- A matrix product (m, k) @ (k, n) has m·k·n.
- An elementwise product or quotient has one for each element.
- A product of weights, which runs once for each forward pass, is not counted.
- Sums and activation functions are not counted.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from krona.surgery.layers import Adapted, is_norm
from krona.surgery.state import adapted_modules, prompt_length
from krona.surgery.target_modules import widths_at

PRODUCTS = ("mul", "div", "addcmul", "addcdiv", "square")  # elementwise operations


def added_costs(model: nn.Module) -> dict[str, int]:
    """Return the costs that all branches add: ``multiply_adds`` for each token, and ``launches``.

    The result is empty if the branches cannot run on the model's device, as some layers of peft on the meta device, and
    for a prompt, whose costs are those of longer inputs.
    """
    if prompt_length(model):
        return {}
    try:
        three, two = (_sum_over_modules(model, tokens)["multiply_adds"] for tokens in (3, 2))
        return {"multiply_adds": three - two, "launches": launches(model)}
    except RuntimeError:
        if not any(branch.computes_layer for _, at in adapted_modules(model) for branch in at.own_branches()):
            raise  # an error in a user's own branch
        return {}


def launches(model: nn.Module) -> int:
    """Return the number of operations that the branches add to one forward pass (batch 1, 10 tokens).

    Views are not counted. On a GPU, one operation is about one kernel launch. For batches of one row, the number of
    launches determines the latency (docs/notebook.md, Table 2).
    """
    return _sum_over_modules(model, 10)["launches"]


def count_operations(call: Callable[[], object]) -> Counter[str]:
    """Run a call, and return its ``multiply_adds`` and ``launches``."""
    operations = _Operations()
    with torch.no_grad(), operations:
        call()
    return operations.counts


def _sum_over_modules(model: nn.Module, tokens: int) -> Counter[str]:
    known: dict[object, Counter[str]] = {}  # equal modules are measured only once
    total = Counter[str]()
    for _, adapted in adapted_modules(model):
        own = [parameter for module in adapted.own_modules() for parameter in module.named_parameters()]
        shapes = tuple((name, tuple(parameter.shape)) for name, parameter in own)
        key = (type(adapted.base), widths_at(adapted), adapted.placement, shapes)
        if key not in known:
            known[key] = _count_added(adapted, tokens)
        total.update(known[key])
    return total


def _count_added(adapted: Adapted, tokens: int) -> Counter[str]:
    base = adapted.base
    like = next(p for p in adapted.parameters() if p.is_floating_point())  # a base in 4 bits may have no such weight
    x, y = (torch.zeros(1, tokens, width, device=like.device, dtype=like.dtype) for width in widths_at(adapted))
    training, adapted.training = adapted.training, False  # without dropout
    try:
        if adapted.capture or not (isinstance(base, nn.Linear) or is_norm(base)):  # run only the branches of a block
            return count_operations(lambda: adapted.update(y, x))
        counts = count_operations(lambda: adapted(x))
        counts.subtract(count_operations(lambda: base(x)))
        return counts
    finally:
        adapted.training = training


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that run on the device, and their multiply-adds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = Counter[str]()

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        output = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        self.counts["launches"] += not func.is_view and name not in ("_unsafe_view", "detach")
        if func._overloadpacket in flop_registry:
            flops = flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=output)
            self.counts["multiply_adds"] += flops // 2
        elif name.rstrip("_") in PRODUCTS:
            self.counts["multiply_adds"] += output.numel()
        elif name == "mv":
            self.counts["multiply_adds"] += args[0].numel()
        return output
