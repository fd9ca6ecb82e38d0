"""(IA)³ (Liu et al. 2022): learned vectors rescale keys, values and the inner activations of the FFN."""

import torch
from torch import Tensor, nn


class IA3(nn.Module):
    """A learned vector l that rescales the activations h: ``l ⊙ h`` replaces h (``inner_residual: false``).

    On k and v, the vector rescales the output of the layer, ``l ⊙ (x W)``. On wo, it rescales the input of the layer,
    ``(l ⊙ γ(x W_1)) W_2`` with the activation function γ. The vector is initialised with ones. The output therefore
    equals the backbone's before training. The number of parameters is the width of h. The update has the full rank of
    the layer, because the rescaled weight is ``W diag(l)`` on k and v, and ``diag(l) W_2`` on wo.
    """

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
