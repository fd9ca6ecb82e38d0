"""Kinds of layers: normalisations, and linear layers with either orientation of the weight."""

from torch import Tensor, nn


def is_norm(module: nn.Module) -> bool:
    return type(module).__name__.endswith("Norm")


# their forward passes their layers' weights to a fused function, without calling the layers
READ_PAST_FORWARD = frozenset({"MultiheadAttention", "TransformerEncoderLayer", "WavLMAttention"})


def reads_past_forward(module: nn.Module) -> bool:
    """Return whether a module reads its layers' weights itself, so that a branch at one of them would never run."""
    return any(kind.__name__ in READ_PAST_FORWARD for kind in type(module).__mro__)


def is_conv1d(module: nn.Module) -> bool:
    """Return whether it is GPT-2's linear layer, whose weight is (d_in, d_out)."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or is_conv1d(module)


def weight_matrix(layer: nn.Module) -> Tensor:
    """Return (d_out, d_in): a linear layer's weight."""
    weight = layer.get_parameter("weight")
    return weight.T if is_conv1d(layer) else weight
