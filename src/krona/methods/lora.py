"""LoRA (Hu et al. 2022), the low-rank method that KronA is compared with (section 3.2 of the KronA paper)."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.methods.arguments import check_float, check_int
from krona.methods.peft_layers import Layers, common_scale


class LoRA(nn.Module):
    """The update ``s · x A B``.

    The shapes are A (d_in, rank) and B (rank, d_out). A is initialised Kaiming-uniform (bound 1/√d_in, that is a = √5)
    and B with zeros. The output therefore equals the backbone's before training. The number of parameters is rank ·
    (d_in + d_out). The rank of the update is ``rank``.

    Args:
        scaling: the factor s. Other implementations have an argument α with s = α / rank. The KronA paper uses α =
            rank, so s = 1.
    """

    peft_type = "LORA"

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

    def to_peft(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        rank = self.A.shape[1]
        return {"r": rank, "lora_alpha": self.scaling * rank}, {"lora_A": self.A.T, "lora_B": self.B.T}

    @classmethod
    def from_peft(
        cls, layers: Layers, config: Mapping[str, Any]
    ) -> tuple[type[nn.Module], dict[str, Any], dict[str, dict[str, Tensor]]]:
        scaling, ratios = common_scale(layers)
        rank = max(len(layer["lora_A"]) for layer in layers.values())
        fits = all(rank <= min(layer["lora_A"].shape[1], len(layer["lora_B"])) for layer in layers.values())
        tensors = {}
        for place, layer in layers.items():
            A, B = _widen(layer["lora_A"].T, ratios[place] * layer["lora_B"].T, rank)
            tensors[place] = {"A": A, "B": B}
        return LoRA if fits else FittedLoRA, {"rank": rank, "scaling": scaling}, tensors


class FittedLoRA(LoRA):
    """LoRA whose rank at each layer is ``min(rank, d_in, d_out)``, for imported adapters with a higher rank."""

    def __init__(self, d_in: int, d_out: int, *, rank: int = 1, scaling: float = 1.0) -> None:
        super().__init__(d_in, d_out, rank=min(rank, d_in, d_out), scaling=scaling)


def _widen(A: Tensor, B: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return two factors of rank ``min(rank, d_in, d_out)`` whose product equals A B, for A (d_in, r) and B (r, d_out).

    The rank r is at most ``rank``. If r is below the new rank, the factors are padded with zeros. If r is above the
    new rank, one of the two factors is an identity matrix.
    """
    rank = min(rank, len(A), B.shape[1])
    if (more := rank - A.shape[1]) >= 0:
        return F.pad(A, (0, more)), F.pad(B, (0, 0, 0, more))
    one = torch.eye(rank, dtype=A.dtype, device=A.device)
    return (one, A @ B) if len(A) <= B.shape[1] else (A @ B, one)
