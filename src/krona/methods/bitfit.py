"""BitFit (Ben Zaken et al. 2022): existing biases train, and layers without a bias get one (docs/fidelity.md)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bias(nn.Module):
    """``b`` (d_out), for every input: a trainable bias of a linear layer or LayerNorm.

    Start: 0, so the output is the backbone's. Parameters: d_out. Rank of the update: 0, since no weight changes.
    T5's linear layers and LayerNorms have no bias. Where a layer has one (BERT, GPT-2), that one trains.
    """

    update_rank = 0
    existing = "bias"  # the layer's own parameter that trains instead, if there is one

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(d_out))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.bias)

    def beside(self, layer: nn.Linear, x: Tensor) -> Tensor:
        return F.linear(x, layer.weight, self.bias if layer.bias is None else layer.bias + self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(*x.shape[:-1], -1)  # (..., d_out)
