"""LoRA (Hu et al. 2022), the low-rank method that KronA is compared with (section 3.2 of the KronA paper)."""

import math

import torch
from torch import Tensor, nn

from krona.methods.arguments import check_float, check_int


class LoRA(nn.Module):
    """The update ``s · x A B``.

    The shapes are A (d_in, rank) and B (rank, d_out). A is initialised Kaiming-uniform (bound 1/√d_in, that is a = √5)
    and B with zeros. The output therefore equals the backbone's before training. The number of parameters is rank ·
    (d_in + d_out). The rank of the update is ``rank``.

    Args:
        scaling: the factor s. Other implementations have an argument α with s = α / rank. The KronA paper uses α =
            rank, so s = 1.
    """

    def __init__(self, d_in: int, d_out: int, *, rank: int = 1, scaling: float = 1.0) -> None:
        super().__init__()
        largest = min(d_in, d_out)
        check_int("rank", rank, low=1, high=largest, why=f"a layer {d_in} → {d_out} has no higher rank")
        self.scaling = check_float("scaling", scaling)
        self.A = nn.Parameter(torch.empty(d_in, rank))
        self.B = nn.Parameter(torch.empty(rank, d_out))
        self.update_rank = rank
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.A.shape[0])
        nn.init.uniform_(self.A, -bound, bound)
        nn.init.zeros_(self.B)

    def forward(self, x: Tensor) -> Tensor:
        B = self.B if self.scaling == 1.0 else self.scaling * self.B  # a product less in each forward pass
        return x @ self.A @ B  # (..., d_in) → (..., rank) → (..., d_out)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        return self.A, self.scaling * self.B  # (d_in, rank), (rank, d_out)

    def delta(self) -> Tensor:
        return self.scaling * (self.A @ self.B).T  # (d_out, d_in)
