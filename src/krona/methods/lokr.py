"""LoKr (LyCORIS, Yeh et al. 2024) as in peft: the update is a Kronecker product, possibly with a low-rank factor."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from krona.kernels.kronecker_product import kron_matmul, kron_product, with_identity
from krona.methods.branch import Branch, check_int, kaiming_uniform
from krona.methods.magnitude import kronecker_norm_change


class LoKr(Branch):
    """The update ``ΔW = (alpha / rank) · W1 ⊗ W2``.

    The shapes are W1 (out1, in1) and W2 (out2, in2) with d_out = out1·out2 and d_in = in1·in2. The matrices W1ᵀ and W2ᵀ
    correspond to KronA's A and B. On a square layer, the factors are square, unlike KronA's. W1 or, if W1 is a product,
    its first factor is initialised with zeros. The other matrices are initialised Kaiming-uniform (a = √5). Before
    training, the output therefore equals the backbone's.

    Args:
        rank: the rank of W2 as a product ``W2_a W2_b``. If this rank is at least half of the longer side of W2, then W2
            is a full matrix.
        decompose_both: also use the argument ``rank`` for W1, so that W1 can also be a product.
        decompose_factor: the first of the two factors into which each width is split (`split_width`). With -1, the two
            factors are as close to each other as possible.
    """

    peft_type = "LOKR"

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
        check_int("rank", rank, low=1, high=min(d_in, d_out))
        if decompose_factor != -1:
            check_int("decompose_factor", decompose_factor, low=1, why="or -1 for factors as equal as possible")
        self.scaling = alpha / rank
        self.peft_config = {
            "r": rank, "alpha": alpha, "decompose_both": decompose_both, "decompose_factor": decompose_factor
        }  # fmt: skip
        (in1, in2), (out1, out2) = split_width(d_in, decompose_factor), split_width(d_out, decompose_factor)
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
        rank1 = min(out1, in1, rank if self.low_rank_w1 else d_in)
        rank2 = min(out2, in2, rank if self.low_rank_w2 else d_in)
        self.update_rank = rank1 * rank2
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for name, parameter in self.named_parameters():
            if name in ("w1", "w1_a"):
                nn.init.zeros_(parameter)
            else:
                kaiming_uniform(parameter, parameter.shape[1])

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return W1 (out1, in1) and W2 (out2, in2)."""
        W1 = self.w1_a @ self.w1_b if self.low_rank_w1 else self.w1
        W2 = self.w2_a @ self.w2_b if self.low_rank_w2 else self.w2
        return W1, W2

    def forward(self, x: Tensor) -> Tensor:
        W1, W2 = self.factors()
        return kron_matmul(x, W1.T, self.scaling * W2.T)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        """Return low-rank factors of the update: the Kronecker products of factors of W1ᵀ and W2ᵀ."""
        left1, right1 = (self.w1_b.T, self.w1_a.T) if self.low_rank_w1 else with_identity(self.w1.T)
        left2, right2 = (self.w2_b.T, self.w2_a.T) if self.low_rank_w2 else with_identity(self.w2.T)
        return kron_product(left1, left2), self.scaling * kron_product(right1, right2)  # (d_in, r), (r, d_out)

    def norm_change(self, W: Tensor) -> Tensor:
        W1, W2 = self.factors()
        return kronecker_norm_change(W, W1.T, self.scaling * W2.T)

    def delta(self) -> Tensor:
        return self.scaling * kron_product(*self.factors())  # (d_out, d_in)

    def to_peft(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return self.peft_config, {f"lokr_{name}": parameter for name, parameter in self.named_parameters()}


def split_width(width: int, factor: int = -1) -> tuple[int, int]:
    """Return two numbers whose product is the width.

    The numbers are ``factor`` and ``width / factor``. For ``factor = -1``, the numbers are the two divisors closest
    to each other, the smaller one first. If ``factor`` does not divide the width, the first number is the largest
    divisor of the width that is at most ``factor`` and at most the square root of the width.
    """
    if factor > 0 and width % factor == 0:
        return factor, width // factor
    limit = math.isqrt(width) if factor == -1 else min(factor, math.isqrt(width))
    smaller = max(d for d in range(1, limit + 1) if width % d == 0)
    return smaller, width // smaller
