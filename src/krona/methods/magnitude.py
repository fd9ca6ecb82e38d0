"""DoRA's magnitude (Liu et al. 2024): the norm of each row of the weight is trained separately from its direction."""

import torch
from torch import Tensor, nn


class Magnitude(nn.Module):
    """A magnitude m for each row of a merged weight: ``W' = m · (W + ΔW) / ‖W + ΔW‖`` (Eq. 5 of the DoRA paper).

    Each row of the weight computes one output of the layer. ‖W + ΔW‖ is the norm of each row. The option ``magnitude:
    true`` adds this module to any branch with ``delta()``. DoRA is LoRA with this option. The magnitude starts as ``m =
    ‖W + ΔW‖``, so it does not change the output at the start. The number of parameters is d_out. The backward pass
    treats the norm as a constant (section 4.3 of the DoRA paper).
    """

    def __init__(self, weight: Tensor, delta: Tensor) -> None:
        super().__init__()
        self.magnitude = nn.Parameter(row_norms(weight + delta.to(weight.dtype)))

    def forward(self, y: Tensor, weight: Tensor, delta: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the rescaled output. The bias is not rescaled.

        Args:
            y: the output (..., d_out) with the weight W + ΔW and the bias.
            weight: the weight W (d_out, d_in).
            delta: the update ΔW (d_out, d_in).
            bias: the bias (d_out) of the layer, or None.
        """
        scale = self.scale(weight + delta.to(weight.dtype))
        return y * scale if bias is None else (y - bias) * scale + bias

    def scale(self, weight: Tensor) -> Tensor:
        """Return the factor (d_out,) of each row of the merged weight W + ΔW."""
        return self.magnitude / row_norms(weight)


@torch.no_grad()
def row_norms(weight: Tensor) -> Tensor:
    """Return the norm of each row, (d_out,). For a row of zeros, return the smallest positive number."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=1)
    return norms.clamp(min=torch.finfo(norms.dtype).tiny)
