"""Capture the input of a part of the model for the branches at its end."""

from typing import Any

from torch import Tensor, nn


class InputCapture:
    """A forward pre-hook of the first module of a part. It keeps the part's input for ``last``, the wrapper at its end.

    The hook is not a submodule, so a copy of the model has its own hook.
    """

    def __init__(self, first: nn.Module, last: Any, adapter: str) -> None:
        self.first, self.last, self.adapter = first, last, adapter
        self.x: Tensor | None = None
        first.register_forward_pre_hook(self)

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.last.runs(self.adapter):
            self.x = inputs[0]

    def take(self) -> Tensor:
        """Return the input of this forward pass and release it."""
        x, self.x = self.x, None
        if x is None:
            raise RuntimeError(f"the forward pass of this model did not call {type(self.first).__name__}")
        return x

    def remove(self) -> None:
        hooks = self.first._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if hook is self]:
            del hooks[key]
