"""Recognise normalisation layers and linear layers. The weight of a linear layer has one of two orientations."""

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


def weight_matrix(layer: nn.Module) -> Tensor:
    """Return the weight of a linear layer as (d_out, d_in)."""
    weight = layer.get_parameter("weight")
    return weight.T if is_conv1d(layer) else weight
