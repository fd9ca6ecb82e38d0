"""Operations that one forward dispatches below autograd, views left out: on a GPU at batch 1, its time (Table 2)."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# They move no number: a tensor's sizes and strides are written anew.
VIEWS = {
    "alias", "as_strided", "detach", "expand", "lift_fresh", "permute", "select", "slice", "split", "split_with_sizes",
    "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view", "_reshape_alias", "_unsafe_view",
}  # fmt: skip


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        if name not in VIEWS:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def launches(call: Callable[[], Any]) -> Counter[str]:
    """Operations by name; ``.total()`` of them is the number of launches."""
    with _Counting() as counting:
        call()
    counts: Counter[str] = counting.counts
    return counts
