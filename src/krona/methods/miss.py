"""MiSS (Kang & Yin 2024): the input's parts of `rank` numbers are summed before one trained matrix sees them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.methods.arguments import finite, whole


class MiSS(nn.Module):
    """``s · (Σ_k x_k) D`` with ``x`` cut into parts ``x_k: (rank)`` and ``D: (rank, d_out)``; peft's default form.

    A last part that is shorter is filled up with zeros. ``D`` starts at zero, so training starts at the backbone.
    ``scaling`` is s; the source has none. LayerNorms do not train in the source; here they do unless
    ``train_layer_norms`` says otherwise.
    Parameters: rank · d_out. Rank of the update: at most rank.
    """

    def __init__(self, d_in: int, d_out: int, *, rank: int = 2, scaling: float = 1.0) -> None:
        super().__init__()
        largest = min(d_in, d_out)
        whole("rank", rank, low=1, high=largest, why=f"on a layer {d_in} → {d_out} a higher one adds no rank")
        self.d_in = d_in
        self.scaling = finite("scaling", scaling)
        self.D = nn.Parameter(torch.empty(rank, d_out))
        self.update_rank = rank
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.D)

    def forward(self, x: Tensor) -> Tensor:
        rank = len(self.D)
        x = F.pad(x, (0, -self.d_in % rank)) if self.d_in % rank else x
        parts = x.reshape(*x.shape[:-1], x.shape[-1] // rank, rank)
        return parts.sum(-2) @ self.matrix()  # (..., d_in / rank, rank) → (..., rank) → (..., d_out)

    def delta(self) -> Tensor:
        """(d_out, d_in): D, transposed, side by side."""
        return self.matrix().T.repeat(1, -(-self.d_in // len(self.D)))[:, : self.d_in]

    def low_rank(self) -> tuple[Tensor, Tensor]:
        """(d_in, rank), which sums the parts, and (rank, d_out)."""
        one = torch.eye(len(self.D), dtype=self.D.dtype, device=self.D.device)
        return one.repeat(-(-self.d_in // len(self.D)), 1)[: self.d_in], self.matrix()

    def matrix(self) -> Tensor:
        """s · D: (rank, d_out)."""
        return self.D if self.scaling == 1.0 else self.scaling * self.D
