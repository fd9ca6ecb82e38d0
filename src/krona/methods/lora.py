"""LoRA (Hu et al. 2022), the low-rank counterpart that KronA replaces (section 3.2, Figure 1.a)."""

import math

import torch
from torch import Tensor, nn

from krona.kernels.kronecker import low_rank_linear
from krona.methods.arguments import finite, whole


class LoRA(nn.Module):
    """``s · x A B`` with ``A: (d_in, rank)`` and ``B: (rank, d_out)``.

    ``A`` starts Kaiming-uniform (a = √5: bound 1/√d_in), ``B`` at zero, so training starts at the backbone.
    ``scaling`` is s itself, where other code has s = α / rank: α = rank, so 1, is the paper's.
    Parameters: rank · (d_in + d_out). Rank of the update: rank.
    """

    def __init__(self, d_in: int, d_out: int, *, rank: int = 1, scaling: float = 1.0) -> None:
        super().__init__()
        largest = min(d_in, d_out)
        whole("rank", rank, low=1, high=largest, why=f"on a layer {d_in} → {d_out} a higher one adds no rank")
        self.scaling = finite("scaling", scaling)
        self.A = nn.Parameter(torch.empty(d_in, rank))
        self.B = nn.Parameter(torch.empty(rank, d_out))
        self.update_rank = rank
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.A.shape[0])
        nn.init.uniform_(self.A, -bound, bound)
        nn.init.zeros_(self.B)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.A @ (self.scaling * self.B)  # (..., d_in) → (..., rank) → (..., d_out)

    def beside(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """``layer(x) + self(x)`` in one step, for a frozen layer: called instead of `forward` (`krona.surgery`).

        Its written-out gradient adds the branch's products to the layer's own: no pass over the output to sum two.
        """
        return low_rank_linear(layer, x, self.A, self.B if self.scaling == 1.0 else self.scaling * self.B)

    def delta(self) -> Tensor:
        """(d_out, d_in): what merging adds to an ``nn.Linear`` weight."""
        return self.scaling * (self.A @ self.B).T
