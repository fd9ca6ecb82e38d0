"""PA, the scaled parallel adapter (He et al. 2022), the low-rank counterpart of KronA^B (section 3.3, Figure 1.c)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.methods.arguments import finite, whole
from krona.methods.non_linearity import non_linearity_named


class ParallelAdapter(nn.Module):
    """``s · (relu(x W_down + b_down) W_up + b_up)``, beside an FFN: ``Y = FFN(X) + update``.

    ``W_down: (d_in, bottleneck_dim)`` starts Kaiming-uniform (a = √5: bound 1/√d_in); ``W_up: (bottleneck_dim, d_out)``
    and both biases start at zero ("lora" init), so training starts at the backbone. The scale multiplies the
    up-projection's bias too, as in the original code.
    Parameters: bottleneck_dim · (d_in + d_out + 1) + d_out. Rank of the update: bottleneck_dim.
    """

    def __init__(
        self, d_in: int, d_out: int, *, bottleneck_dim: int = 2, scaling: float = 1.0, non_linearity: str = "relu"
    ) -> None:
        super().__init__()
        whole("bottleneck_dim", bottleneck_dim, low=1, high=min(d_in, d_out))
        self.scaling = finite("scaling", scaling)
        self.non_linearity = non_linearity_named(non_linearity)
        self.down = nn.Parameter(torch.empty(d_in, bottleneck_dim))
        self.down_bias = nn.Parameter(torch.empty(bottleneck_dim))
        self.up = nn.Parameter(torch.empty(bottleneck_dim, d_out))
        self.up_bias = nn.Parameter(torch.empty(d_out))
        self.update_rank = bottleneck_dim
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.down.shape[0])
        nn.init.uniform_(self.down, -bound, bound)
        for zero in (self.down_bias, self.up, self.up_bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        z = self.non_linearity(F.linear(x, self.down.T, self.down_bias))  # (..., bottleneck_dim)
        return self.scaling * F.linear(z, self.up.T, self.up_bias)  # (..., d_out)
