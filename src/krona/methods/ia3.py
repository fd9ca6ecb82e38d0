"""(IA)³ (Liu et al. 2022): learned vectors rescale keys, values and the inner activations of the FFN."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from krona.methods.branch import Branch
from krona.methods.peft_layers import Converted, Layers


class IA3(Branch):
    """A learned vector l that rescales the activations h: ``l ⊙ h`` replaces h (``inner_residual: false``).

    On k and v, the vector rescales the output of the layer, ``l ⊙ (x W)``. On wo, the vector rescales the input of the
    layer, ``(l ⊙ γ(x W_1)) W_2`` with the activation function γ. The vector is initialised with ones. Before training,
    the output therefore equals the backbone's. The number of parameters is the width of h. The update has full rank,
    because the rescaled weight is ``W diag(l)`` on k and v, and ``diag(l) W_2`` on wo.
    """

    peft_type = "IA3"  # there is no `to_peft`, because the export depends on the placement

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(d_out))
        self.update_rank = d_out
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)

    def forward(self, h: Tensor) -> Tensor:
        return h * self.scale  # (..., d)

    def delta(self) -> Tensor:
        return torch.diag(self.scale)  # (d, d), the matrix that is applied after or before the layer

    @classmethod
    def from_peft(cls, layers: Layers, config: Mapping[str, Any]) -> Converted:
        return cls, {}, {name: {"scale": layer["ia3_l"].reshape(-1)} for name, layer in layers.items()}
