"""CDKA, Component Designed Kronecker Adapters (Bai et al. 2026): a sum of Kronecker products of configurable shapes."""

import math

import torch
from torch import Tensor, nn

from krona.kernels.kronecker_product import kron_matmul, kron_product
from krona.messages import KronaError
from krona.methods.branch import Branch, check_int, kaiming_uniform


class CDKA(Branch):
    """The update ``ΔW = s Σᵢ Bᵢ ⊗ Aᵢ`` with ``s = alpha / √(components · r2)``.

    The shapes are Bᵢ (d_out / r1, r2) and Aᵢ (r1, d_in / r2). The matrices Bᵢᵀ and Aᵢᵀ correspond to KronA's A and B.
    Aᵢ is initialised Kaiming-uniform (a = √5, bound 1/√(d_in / r2)) and Bᵢ with zeros. Before training, the output
    therefore equals the backbone's. The number of parameters is components · (d_out · r2 / r1 + d_in · r1 / r2). On a
    square layer, this number is at least that of LoRA with rank 1. The rank of the update is at most components ·
    min(d_out / r1, r2) · min(r1, d_in / r2). With r1 = r2 = 1, the update is that of LoRA with rank ``components`` and
    the scale of rsLoRA.

    Args:
        components: the number of products in the sum.
        r1: a divisor of d_out.
        r2: a divisor of d_in.
        alpha: the numerator of the scale s.
    """

    def __init__(
        self, d_in: int, d_out: int, *, components: int = 1, r1: int = 2, r2: int = 2, alpha: float = 1.0
    ) -> None:
        super().__init__()
        check_int("components", components, low=1, high=min(d_in, d_out), why="the smaller width of the layer")
        for key, value, side, width in (("r1", r1, "output", d_out), ("r2", r2, "input", d_in)):
            if width % check_int(key, value, low=1):
                raise KronaError(f"method.{key}={value} does not divide the {side} width of a layer {d_in} → {d_out}.")
        self.scaling = alpha / math.sqrt(components * r2)
        self.A = nn.Parameter(torch.empty(components, r1, d_in // r2))
        self.B = nn.Parameter(torch.empty(components, d_out // r1, r2))
        self.update_rank = min(d_in, d_out, components * min(d_out // r1, r2) * min(r1, d_in // r2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        kaiming_uniform(self.A, self.A.shape[2])
        nn.init.zeros_(self.B)

    def forward(self, x: Tensor) -> Tensor:
        B, A = self.scaling * self.B.mT, self.A.mT  # (components, r2, d_out / r1), (components, d_in / r2, r1)
        return kron_matmul(x, B, A) if len(A) > 1 else kron_matmul(x, B[0], A[0])

    def delta(self) -> Tensor:
        return self.scaling * kron_product(self.B, self.A)  # (d_out, d_in)
