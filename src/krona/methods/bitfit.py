"""BitFit (Ben Zaken et al. 2022): train existing biases, and add a bias to layers without one (docs/fidelity.md)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.methods.branch import Branch


class Bias(Branch):
    """A trainable bias ``b`` (d_out) of a linear layer or LayerNorm. The update is b for every input.

    The bias is initialised with zeros. Before training, the output therefore equals the backbone's. The number of
    parameters is d_out. The rank of the update is 0, because no weight matrix changes. This module is for layers
    without a bias, such as the linear layers and LayerNorms of T5. If a layer already has a bias (BERT, GPT-2), that
    bias is trained instead.
    """

    update_rank = 0
    existing_parameter = "bias"  # if the layer already has this parameter, the parameter is trained instead

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
