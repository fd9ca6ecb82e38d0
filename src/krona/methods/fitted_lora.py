"""LoRA of one rank over layers of several widths: peft's folders and sums of adapters may ask for more than one has."""

import torch
import torch.nn.functional as F
from torch import Tensor

from krona.methods.lora import LoRA


class FittedLoRA(LoRA):
    """LoRA whose rank is ``rank``, or the most that the layer d_in → d_out can use: ``min(rank, d_in, d_out)``."""

    def __init__(self, d_in: int, d_out: int, *, rank: int = 1, scaling: float = 1.0) -> None:
        super().__init__(d_in, d_out, rank=min(rank, d_in, d_out), scaling=scaling)


def of_rank(A: Tensor, B: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The same product of (d_in, r) and (r, d_out) at ``min(rank, d_in, d_out)``: filled up with zeros, or, where r is
    above the layer's widths, beside an identity. It is never cut: ``rank`` is at least r."""
    rank = min(rank, len(A), B.shape[1])
    if (more := rank - A.shape[1]) >= 0:
        return F.pad(A, (0, more)), F.pad(B, (0, 0, 0, more))
    one = torch.eye(rank, dtype=A.dtype, device=A.device)
    return (one, A @ B) if len(A) <= B.shape[1] else (A @ B, one)
