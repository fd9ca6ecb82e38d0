"""(IA)³ (Liu et al. 2022): learned vectors rescale keys, values and the FFN's inner activations."""

import torch
from torch import Tensor, nn


class IA3(nn.Module):
    """``l ⊙ h``, in place of ``h`` (``inner_residual: false``).

    On k and v it is placed after the layer (``l ⊙ (x W)``), on wo before it (``(l ⊙ γ(x W_1)) W_2``). ``l`` starts at
    one, so training starts at the backbone. Parameters: the width of ``h``. The rescaled weight is ``diag(l) W``
    (after) or ``W diag(l)`` (before): the update ``diag(l - 1) W`` has the layer's own rank. LayerNorms do not train
    in the source; here they do unless ``train_layer_norms`` says otherwise, as in the paper's rows.
    """

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(d_out))
        self.update_rank = d_out
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)

    def forward(self, h: Tensor) -> Tensor:
        return h * self.scale  # (..., d)

    def delta(self) -> Tensor:
        """(d, d): diag(l), the map after or before the layer."""
        return torch.diag(self.scale)
