"""CDKA, Component Designed Kronecker Adapters (Bai et al. 2026): a sum of Kronecker products of chosen shapes."""

import math

import torch
from torch import Tensor, nn

from krona.kernels.kronecker import kron_linear, kron_matmul
from krona.messages import KronaError
from krona.methods.arguments import finite, whole
from krona.methods.kronecker import kron_product


class CDKA(nn.Module):
    """``ΔW = s Σᵢ Bᵢ ⊗ Aᵢ``, ``Bᵢ: (d_out / r1, r2)``, ``Aᵢ: (r1, d_in / r2)``, ``s = alpha / √(components · r2)``.

    ``A`` starts Kaiming-uniform (a = √5: bound 1/√(d_in / r2)), ``B`` at zero, so training starts at the backbone.
    With r1 = r2 = 1 it is LoRA of rank ``components`` with the scale of rsLoRA. What is A in KronA is ``Bᵢᵀ`` here, and
    what is B is ``Aᵢᵀ``.

    Args:
        components: the number of products.
        r1, r2: the shapes; r1 divides d_out and r2 divides d_in.
        alpha: the scale before it is divided.

    LayerNorms do not train in the source; here they do unless ``train_layer_norms`` says otherwise.
    Parameters: components · (d_out · r2 / r1 + d_in · r1 / r2): on a square layer LoRA rank 1's with one component and
    r1 = r2, and more with any other choice.
    Rank of the update: at most components · min(d_out / r1, r2) · min(r1, d_in / r2).
    """

    def __init__(
        self, d_in: int, d_out: int, *, components: int = 1, r1: int = 2, r2: int = 2, alpha: float = 1.0
    ) -> None:
        super().__init__()
        whole("components", components, low=1)
        for key, value, side, width in (("r1", r1, "output", d_out), ("r2", r2, "input", d_in)):
            if width % whole(key, value, low=1):
                raise KronaError(f"method.{key}={value} does not divide the {side} of a layer {d_in} → {d_out}")
        self.scaling = finite("alpha", alpha) / math.sqrt(components * r2)
        self.A = nn.Parameter(torch.empty(components, r1, d_in // r2))
        self.B = nn.Parameter(torch.empty(components, d_out // r1, r2))
        self.update_rank = min(d_in, d_out, components * min(d_out // r1, r2) * min(r1, d_in // r2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.A.shape[2])
        nn.init.uniform_(self.A, -bound, bound)
        nn.init.zeros_(self.B)

    def forward(self, x: Tensor) -> Tensor:
        return kron_matmul(x, *self._factors())

    def beside(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """``layer(x) + self(x)`` in one step, for a frozen layer."""
        return kron_linear(layer, x, *self._factors())

    def delta(self) -> Tensor:
        """(d_out, d_in): what merging adds to an ``nn.Linear`` weight."""
        products = [kron_product(B, A) for B, A in zip(self.B, self.A, strict=True)]
        return self.scaling * torch.stack(products).sum(0)

    def _factors(self) -> tuple[Tensor, Tensor]:
        """KronA's A and B: Bᵢᵀ (r2, d_out / r1) and Aᵢᵀ (d_in / r2, r1), stacked where there are several."""
        B, A = self.scaling * self.B.transpose(1, 2), self.A.transpose(1, 2)
        return (B, A) if len(A) > 1 else (B[0], A[0])
