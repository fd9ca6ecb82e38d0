"""Bottleneck adapter (Houlsby et al. 2019), which is applied after a sub-layer and before its dropout.

The KronA paper applies its baseline Adapter at the same position.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.methods.branch import Branch, check_int, get_non_linearity


class Adapter(Branch):
    """The update ``σ(h W_down + b_down) W_up + b_up`` of a bottleneck adapter, where h is the output of a sub-layer.

    The placement is sequential: the update is added to h (the inner residual). The shapes are W_down (d_in, r) and W_up
    (r, d_out) with r = ``bottleneck_dim``. The weights are initialised from a normal distribution (mean 0, standard
    deviation 0.01) and the biases with zeros. Before training, the output is therefore close to the backbone's. The
    number of parameters is r · (d_in + d_out + 1) + d_out. The rank of the update is r.
    """

    def __init__(self, d_in: int, d_out: int, *, bottleneck_dim: int = 1, non_linearity: str = "gelu_new") -> None:
        super().__init__()
        check_int("bottleneck_dim", bottleneck_dim, low=1, high=min(d_in, d_out))
        self.non_linearity = get_non_linearity(non_linearity)
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
        z = self.non_linearity(F.linear(h, self.down.T, self.down_bias))  # (..., r)
        return F.linear(z, self.up.T, self.up_bias)  # (..., d_out)
