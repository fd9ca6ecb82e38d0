"""(IA)³ (Liu et al. 2022): learned vectors rescale keys, values and the inner activations of the FFN."""

import torch
from torch import Tensor, nn


class IA3(nn.Module):
    """``l ⊙ h``, in place of h (``inner_residual: false``).

    On k and v it follows the layer, ``l ⊙ (x W)``; on wo it precedes the layer, ``(l ⊙ γ(x W_1)) W_2``.
    Start: 1, so the output is the backbone's. Parameters: the width of h.
    Rank of the update: the layer's own, since the rescaled weight is ``diag(l) W`` or ``W diag(l)``.
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
        return torch.diag(self.scale)  # (d, d): the map after or before the layer
