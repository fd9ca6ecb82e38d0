"""DoRA's magnitude (Liu et al. 2024): the norm and the direction of each weight row train separately."""

import torch
from torch import Tensor, nn


class Magnitude(nn.Module):
    """``W' = m · (W + ΔW) / ‖W + ΔW‖``, with a norm and an m for each output of the layer (their Eq. 5).

    It is a switch (``magnitude: true``) for any branch with ``delta()``: DoRA is LoRA with it.
    Start: ``m = ‖W + ΔW‖``, so the output is that of the branch alone. Parameters: d_out.
    The norm is a constant in the backward pass (their section 4.3).
    """

    def __init__(self, weight: Tensor, delta: Tensor) -> None:
        super().__init__()
        self.magnitude = nn.Parameter(row_norms(weight, delta))

    def forward(self, y: Tensor, weight: Tensor, delta: Tensor, bias: Tensor | None = None) -> Tensor:
        """Rescale y (..., d_out), the output of W + ΔW and the bias. The bias is not rescaled."""
        scale = self.magnitude / row_norms(weight, delta)
        return y * scale if bias is None else (y - bias) * scale + bias


@torch.no_grad()
def row_norms(weight: Tensor, delta: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(weight + delta.to(weight.dtype), dim=1)  # (d_out,)
    return norms
