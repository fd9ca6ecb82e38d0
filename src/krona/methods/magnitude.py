"""DoRA's magnitude (Liu et al. 2024): a weight's length and its direction train apart."""

import torch
from torch import Tensor, nn


class Magnitude(nn.Module):
    """``W' = m · (W + ΔW) / ‖W + ΔW‖``, a norm and an ``m`` for each of the layer's outputs (their Eq. 5).

    ``m: (d_out)`` starts at ``‖W + ΔW‖`` of the start, so training starts where the branch alone would. The norm is
    taken as a constant in the backward pass (their section 4.3). It is a switch (``magnitude: true``) over any branch
    that has a ``delta()``: DoRA is LoRA with it. LayerNorms do not train in the source; here they do unless
    ``train_layer_norms`` says otherwise. Parameters: d_out.
    """

    def __init__(self, weight: Tensor, delta: Tensor) -> None:
        super().__init__()
        self.magnitude = nn.Parameter(length(weight, delta))

    def forward(self, y: Tensor, weight: Tensor, delta: Tensor, bias: Tensor | None = None) -> Tensor:
        """``y``: (..., d_out), the outputs of W + ΔW (and the layer's bias, which has no length)."""
        scale = self.magnitude / length(weight, delta)
        return y * scale if bias is None else (y - bias) * scale + bias


@torch.no_grad()
def length(weight: Tensor, delta: Tensor) -> Tensor:
    """(d_out): the norm of each row of W + ΔW, both (d_out, d_in)."""
    norm: Tensor = torch.linalg.vector_norm(weight + delta.to(weight.dtype), dim=1)
    return norm
