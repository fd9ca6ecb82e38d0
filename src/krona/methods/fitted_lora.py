"""LoRA with a rank that may exceed the width of a layer.

Imported peft folders and sums of adapters can have such ranks.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from krona.methods.lora import LoRA


class FittedLoRA(LoRA):
    """LoRA whose rank at each layer is ``min(rank, d_in, d_out)``."""

    def __init__(self, d_in: int, d_out: int, *, rank: int = 1, scaling: float = 1.0) -> None:
        super().__init__(d_in, d_out, rank=min(rank, d_in, d_out), scaling=scaling)


def fit_loras(
    factors: Mapping[str, tuple[Tensor, Tensor]], scaling: float
) -> tuple[type[LoRA], dict[str, Any], dict[str, Tensor]]:
    """Return one class for LoRAs of several ranks, its arguments, and the tensors by name.

    ``factors`` has the factors A (d_in, r) and B (r, d_out) of each module.
    """
    rank = max(A.shape[1] for A, _ in factors.values())
    fits = all(rank <= min(len(A), B.shape[1]) for A, B in factors.values())
    tensors = {}
    for place, (A, B) in factors.items():
        tensors[f"{place}.0.A"], tensors[f"{place}.0.B"] = _widen(A, B, rank)
    return LoRA if fits else FittedLoRA, {"rank": rank, "scaling": scaling}, tensors


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
