"""Adapter (Houlsby et al. 2019) as the baseline's code has it: after a sub-layer, before its dropout."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.methods.arguments import whole
from krona.methods.non_linearity import non_linearity_named


class Adapter(nn.Module):
    """``σ(h W_down + b_down) W_up + b_up``, added to ``h`` (the inner residual) by sequential placement.

    ``W_down: (d_in, bottleneck_dim)``, ``W_up: (bottleneck_dim, d_out)``; both start N(0, 0.01) with σ = 0.01 the
    standard deviation, the biases at zero: training starts near the backbone, not at it.
    Parameters: bottleneck_dim · (d_in + d_out + 1) + d_out. Rank of the update: bottleneck_dim.
    """

    def __init__(self, d_in: int, d_out: int, *, bottleneck_dim: int = 1, non_linearity: str = "gelu_new") -> None:
        super().__init__()
        whole("bottleneck_dim", bottleneck_dim, low=1, high=min(d_in, d_out))
        self.non_linearity = non_linearity_named(non_linearity)
        self.down = nn.Parameter(torch.empty(d_in, bottleneck_dim))
        self.down_bias = nn.Parameter(torch.empty(bottleneck_dim))
        self.up = nn.Parameter(torch.empty(bottleneck_dim, d_out))
        self.up_bias = nn.Parameter(torch.empty(d_out))
        self.update_rank = bottleneck_dim
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for weight in (self.down, self.up):
            nn.init.normal_(weight, std=0.01)
        for bias in (self.down_bias, self.up_bias):
            nn.init.zeros_(bias)

    def forward(self, h: Tensor) -> Tensor:
        z = self.non_linearity(F.linear(h, self.down.T, self.down_bias))  # (..., bottleneck_dim)
        return F.linear(z, self.up.T, self.up_bias)  # (..., d_out)
