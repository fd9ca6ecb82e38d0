"""Recognise normalisation layers and linear layers, and read the weights of linear layers.

The weight of a linear layer is stored as (d_out, d_in) or, in ``Conv1D`` of GPT-2, as (d_in, d_out). The weight may
be stored in 4 bits (``Linear4bit`` of bitsandbytes).
"""

from typing import TypeGuard

import torch
from torch import Tensor, nn


def is_norm(module: nn.Module) -> bool:
    """Return whether a module is a normalisation layer, which means that its class name ends with Norm."""
    return type(module).__name__.endswith("Norm")


def is_conv1d(module: nn.Module) -> bool:
    """Return whether a module is the linear layer of GPT-2, whose weight is (d_in, d_out)."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def is_linear(module: nn.Module) -> bool:
    """Return whether a module is a linear layer (``nn.Linear``, or ``Conv1D`` of GPT-2)."""
    return isinstance(module, nn.Linear) or is_conv1d(module)


def has_hooks(module: nn.Module) -> bool:
    """Return whether calling a module runs more than the ``forward`` of its class: hooks, or a replaced ``forward``."""
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return bool(hooks) or "forward" in module.__dict__


def is_quantised(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Return whether the weight of a layer is stored in 4 bits."""
    return getattr(layer._parameters.get("weight"), "quant_state", None) is not None


def original_shape(weight: Tensor) -> torch.Size:
    """Return the shape of a weight. For a 4-bit weight, return the shape before quantisation."""
    state = getattr(weight, "quant_state", None)
    return weight.shape if state is None else torch.Size(state.shape)


def dequantised_layer(layer: nn.Linear, weight: Tensor | None = None) -> nn.Linear:
    """Return an ``nn.Linear`` with a quantised layer's bias. Its weight is ``weight`` or the dequantised weight."""
    plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta").train(layer.training)
    plain.weight = nn.Parameter(weight_matrix(layer) if weight is None else weight, requires_grad=False)
    plain.bias = layer.bias
    return plain


def weight_matrix(layer: nn.Module) -> Tensor:
    """Return the weight of a linear layer as (d_out, d_in). A 4-bit weight is dequantised."""
    weight = layer.get_parameter("weight")
    if (state := getattr(weight, "quant_state", None)) is not None:
        from bitsandbytes.functional import dequantize_4bit

        dequantised: Tensor = dequantize_4bit(weight.detach(), state)
        return dequantised
    return weight.T if is_conv1d(layer) else weight
