"""BitFit (Ben Zaken et al. 2022): biases that are there, and new ones from zero where none is (docs/fidelity.md)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bias(nn.Module):
    """``b``, whatever the input: a trainable bias of a linear layer or a LayerNorm.

    T5's linear layers and LayerNorms have none, so new ones are made; the relative position bias is an embedding, not
    one of them. ``b`` starts at zero, so training starts at the backbone. Parameters: d_out. It moves the output and
    not the weight: the rank of the update is 0. Where a backbone's layer has a bias (BERT, GPT-2), that one trains.
    """

    update_rank = 0
    existing = "bias"

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(d_out))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.bias)

    def beside(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """``layer(x) + b``, the bias inside the layer's product."""
        return F.linear(x, layer.weight, self.bias if layer.bias is None else layer.bias + self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(*x.shape[:-1], -1)  # (..., d_out)
