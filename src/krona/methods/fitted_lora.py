"""LoRA of one rank over layers of several widths, for peft folders and sums of adapters with a rank above a width."""

import torch
import torch.nn.functional as F
from torch import Tensor

from krona.methods.lora import LoRA


class FittedLoRA(LoRA):
    """LoRA of rank ``min(rank, d_in, d_out)``."""

    def __init__(self, d_in: int, d_out: int, *, rank: int = 1, scaling: float = 1.0) -> None:
        super().__init__(d_in, d_out, rank=min(rank, d_in, d_out), scaling=scaling)


def widen_factors(A: Tensor, B: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the product A B, of (d_in, r) and (r, d_out) with r ≤ rank, as factors of rank ``min(rank, d_in, d_out)``.

    The factors are padded with zeros. If r exceeds the layer's widths, one factor is an identity.
    """
    rank = min(rank, len(A), B.shape[1])
    if (more := rank - A.shape[1]) >= 0:
        return F.pad(A, (0, more)), F.pad(B, (0, 0, 0, more))
    one = torch.eye(rank, dtype=A.dtype, device=A.device)
    return (one, A @ B) if len(A) <= B.shape[1] else (A @ B, one)
