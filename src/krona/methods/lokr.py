"""LoKr in peft's form (LyCORIS, Yeh et al. 2024): a Kronecker product, its larger factor of low rank."""

import math

import torch
from torch import Tensor, nn

from krona.kernels.kronecker import kron_linear, kron_matmul
from krona.methods.arguments import finite, whole
from krona.methods.kronecker import kron_product


class LoKr(nn.Module):
    """``ΔW = (alpha / rank) · W1 ⊗ W2``, ``W1: (out1, in1)``, ``W2: (out2, in2)``, d_out = out1·out2, d_in = in1·in2.

    Each width is split into its two most equal divisors, or into ``decompose_factor`` and the rest where that divides
    it. ``W2`` is a product ``W2_a W2_b`` of rank ``rank`` where that is below half its longer side, else a full
    matrix; ``W1`` likewise, only with ``decompose_both``. ``W1`` starts at zero (its first factor, if it is a
    product), the rest Kaiming-uniform (a = √5), so training starts at the backbone. Where KronA has A and B, this has
    W1ᵀ and W2ᵀ; unlike KronA's, a square layer's factors are square. LayerNorms do not train in the source; here they
    do unless ``train_layer_norms`` says otherwise.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        rank: int = 16,
        alpha: float = 16.0,
        decompose_both: bool = False,
        decompose_factor: int = -1,
    ) -> None:
        super().__init__()
        whole("rank", rank, low=1, high=min(d_in, d_out))
        if decompose_factor != -1:
            whole("decompose_factor", decompose_factor, low=1, why="-1 splits each width most equally")
        self.scaling = finite("alpha", alpha) / rank
        (in1, in2), (out1, out2) = split(d_in, decompose_factor), split(d_out, decompose_factor)
        self.low_rank_w1 = bool(decompose_both) and 2 * rank < max(out1, in1)
        self.low_rank_w2 = 2 * rank < max(out2, in2)
        if self.low_rank_w1:
            self.w1_a = nn.Parameter(torch.empty(out1, rank))
            self.w1_b = nn.Parameter(torch.empty(rank, in1))
        else:
            self.w1 = nn.Parameter(torch.empty(out1, in1))
        if self.low_rank_w2:
            self.w2_a = nn.Parameter(torch.empty(out2, rank))
            self.w2_b = nn.Parameter(torch.empty(rank, in2))
        else:
            self.w2 = nn.Parameter(torch.empty(out2, in2))
        rank1, rank2 = min(out1, in1), min(out2, in2)
        self.update_rank = (min(rank, rank1) if self.low_rank_w1 else rank1) * (
            min(rank, rank2) if self.low_rank_w2 else rank2
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for name, parameter in self.named_parameters():
            if name in ("w1", "w1_a"):
                nn.init.zeros_(parameter)
            else:  # Kaiming-uniform with a = √5: bound 1/√fan_in, the fan-in being the last dimension
                bound = 1 / math.sqrt(parameter.shape[1])
                nn.init.uniform_(parameter, -bound, bound)

    def factors(self) -> tuple[Tensor, Tensor]:
        """W1 (out1, in1) and W2 (out2, in2)."""
        W1 = self.w1_a @ self.w1_b if self.low_rank_w1 else self.w1
        W2 = self.w2_a @ self.w2_b if self.low_rank_w2 else self.w2
        return W1, W2

    def forward(self, x: Tensor) -> Tensor:
        W1, W2 = self.factors()
        return kron_matmul(x, W1.T, self.scaling * W2.T)

    def beside(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """``layer(x) + self(x)`` in one step, for a frozen layer."""
        W1, W2 = self.factors()
        return kron_linear(layer, x, W1.T, self.scaling * W2.T)

    def delta(self) -> Tensor:
        """(d_out, d_in): what merging adds to an ``nn.Linear`` weight."""
        W1, W2 = self.factors()
        return self.scaling * kron_product(W1, W2)


def split(width: int, factor: int = -1) -> tuple[int, int]:
    """A width as the product of two numbers, the smaller first: ``factor`` and the rest, or the most equal pair.

    Where ``factor`` does not divide the width, the smaller number is its largest divisor that is at most ``factor``.
    """
    if factor > 0 and width % factor == 0:
        return factor, width // factor
    limit = math.isqrt(width) if factor == -1 else min(factor, math.isqrt(width))
    smaller = max(d for d in range(1, limit + 1) if width % d == 0)
    return smaller, width // smaller
