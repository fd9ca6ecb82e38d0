"""Kinds of layers that surgery tells apart: normalisations, and linear layers however they keep their weight."""

from torch import Tensor, nn


def is_norm(module: nn.Module) -> bool:
    return type(module).__name__.endswith("Norm")


# their forward hands these layers' weights to one fused function, and does not call the layers
READ_PAST_FORWARD = frozenset({"MultiheadAttention", "TransformerEncoderLayer", "WavLMAttention"})


def reads_past_forward(module: nn.Module) -> bool:
    """Whether a module reads its layers' weights itself, so that a branch at one of them would never run."""
    return any(kind.__name__ in READ_PAST_FORWARD for kind in type(module).__mro__)


def is_conv1d(module: nn.Module) -> bool:
    """Whether it is GPT-2's linear layer, whose weight is (d_in, d_out): the transpose of an ``nn.Linear``'s."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or is_conv1d(module)


def matrix_of(layer: nn.Module) -> Tensor:
    """(d_out, d_in): a linear layer's weight."""
    weight = layer.get_parameter("weight")
    return weight.T if is_conv1d(layer) else weight
