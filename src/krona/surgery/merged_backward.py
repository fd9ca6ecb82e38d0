"""Refusal of a backward pass through a merged weight, where the branches would get no gradients in silence."""

from typing import Any

import torch
from torch import Tensor

from krona.kernels.gradients import under_functorch
from krona.messages import KronaError


def without_backward(adapted: Any, y: Tensor) -> Tensor:
    """``y``, an output of a merged `krona.surgery.wrapper.Adapted`: a backward pass is an error if its branches train.

    It may not need a gradient until now. Then it is made to, so that a backward pass comes here to be told.
    """
    name = adapted.active
    if torch.compiler.is_compiling() or not any(p.requires_grad for _, p in adapted.own_parameters(name)):
        return y

    def refuse(gradient: Tensor) -> None:
        raise KronaError(
            f"adapter {name!r} is merged into the weights, so its branches do not train: surgery.unmerge(model) before "
            "a backward pass, or model.requires_grad_(False) if only the input's gradient is asked for"
        )

    if not y.requires_grad and not under_functorch():
        y.requires_grad_()
    if y.requires_grad:
        y.register_hook(refuse)  # type: ignore[no-untyped-call]
    return y
