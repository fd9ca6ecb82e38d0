"""MiSS (Kang & Yin 2024): sum the parts of the input, and multiply the sum by one trained matrix."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.methods.arguments import check_float, check_int
from krona.methods.branch import Branch
from krona.methods.peft_layers import Converted, Layers, one_value


class MiSS(Branch):
    """The update ``s · (Σ_k x_k) D`` as in peft. The input x is cut into parts x_k of ``rank`` numbers.

    The last part is padded with zeros. The matrix D (rank, d_out) is initialised with zeros. Before training, the
    output therefore equals the backbone's. The number of parameters is rank · d_out. The rank of the update is at most
    ``rank``.

    Args:
        scaling: the factor s. The MiSS paper does not have this factor.
    """

    peft_type = "MISS"

    def __init__(self, d_in: int, d_out: int, *, rank: int = 2, scaling: float = 1.0) -> None:
        super().__init__()
        largest = min(d_in, d_out)
        check_int("rank", rank, low=1, high=largest, why=f"a layer {d_in} → {d_out} has no higher rank")
        self.d_in = d_in
        self.scaling = check_float("scaling", scaling)
        self.D = nn.Parameter(torch.empty(rank, d_out))
        self.update_rank = rank
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.D)

    def forward(self, x: Tensor) -> Tensor:
        rank = len(self.D)
        x = F.pad(x, (0, -self.d_in % rank)) if self.d_in % rank else x
        blocks = x.reshape(*x.shape[:-1], x.shape[-1] // rank, rank)
        return blocks.sum(-2) @ self.matrix()  # (..., d_in / rank, rank) → (..., rank) → (..., d_out)

    def delta(self) -> Tensor:
        left, right = self.low_rank()
        return (left @ right).T  # (d_out, d_in)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        identity = torch.eye(len(self.D), dtype=self.D.dtype, device=self.D.device)
        repeats = -(-self.d_in // len(self.D))  # the number of parts, rounded up
        return identity.repeat(repeats, 1)[: self.d_in], self.matrix()  # (d_in, rank), (rank, d_out)

    def matrix(self) -> Tensor:
        return self.scaling * self.D

    def to_peft(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"r": len(self.D)}, {"miss_block": self.matrix()}

    @classmethod
    def from_peft(cls, layers: Layers, config: Mapping[str, Any]) -> Converted:
        rank = one_value("ranks", {name: len(layer["miss_block"]) for name, layer in layers.items()})
        return cls, {"rank": rank}, {name: {"D": layer["miss_block"]} for name, layer in layers.items()}
