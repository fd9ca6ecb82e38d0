"""The input of a part of the model, for branches at its end."""

from typing import Any

from torch import Tensor, nn


class Entrance:
    """The beginning of a part of the model whose end carries branches: hands the part's input on to them.

    ``last``: the wrapper at the end. It is a hook of the first module of the part, and none of the part's modules: a
    copy of the model has its own.
    """

    def __init__(self, first: nn.Module, last: Any, adapter: str) -> None:
        self.first, self.last, self.adapter = first, last, adapter
        self.x: Tensor | None = None
        first.register_forward_pre_hook(self)

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.last.active == self.adapter:
            self.x = inputs[0]

    def take(self) -> Tensor:
        """The input of this forward, which is then let go."""
        x, self.x = self.x, None
        if x is None:
            raise RuntimeError(f"the forward of this model went past {type(self.first).__name__}, where a part begins")
        return x

    def remove(self) -> None:
        hooks = self.first._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if hook is self]:
            del hooks[key]
