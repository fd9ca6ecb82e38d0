"""A Monarch matrix as the update (MoRe, Tan et al. 2024): two block-diagonal matrices with a permutation after each."""

import math

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.arguments import finite, whole


class Monarch(nn.Module):
    """``s · x diag(R_1 … R_N) P diag(L_1 … L_N) P'``, ``R_k: (d_in / N, r)`` and ``L_k: (r, d_out / N)``.

    ``P`` takes number a·N + c to a + c·r, so that an ``L`` reads from up to r of the ``R``; ``P'`` takes number i of
    ``L_c``'s output to i·N + c. ``R`` starts Kaiming-uniform (a = √5: bound 1/√(d_in / N)), ``L`` at zero, so training
    starts at the backbone.

    Args:
        blocks: N, a common divisor of the widths.
        block_rank: r.
        scaling: s; the source has none.

    LayerNorms do not train in the source; here they do unless ``train_layer_norms`` says otherwise.
    Parameters: r · (d_in + d_out), whatever N. Rank of the update: at most N · r.
    """

    def __init__(self, d_in: int, d_out: int, *, blocks: int = 4, block_rank: int = 1, scaling: float = 1.0) -> None:
        super().__init__()
        N = whole("blocks", blocks, low=1)
        if d_in % N or d_out % N:
            divisors = f"their greatest common divisor is {math.gcd(d_in, d_out)}"
            raise KronaError(f"method.blocks={N} does not divide both widths of a layer {d_in} → {d_out}; {divisors}")
        high = min(d_in, d_out) // N
        r = whole("block_rank", block_rank, low=1, high=high, why=f"a block of {d_in} → {d_out} is no larger")
        self.scaling = finite("scaling", scaling)
        self.R = nn.Parameter(torch.empty(N, d_in // N, r))
        self.L = nn.Parameter(torch.empty(N, r, d_out // N))
        self.update_rank = N * r
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.R.shape[1])
        nn.init.uniform_(self.R, -bound, bound)
        nn.init.zeros_(self.L)

    def forward(self, x: Tensor) -> Tensor:
        N, block, r = self.R.shape
        X = x.reshape(-1, N, block)  # T tokens: (T, N, d_in / N)
        Z = torch.bmm(X.transpose(0, 1), self.R).transpose(0, 1)  # (T, N, r)
        Z = Z.reshape(len(X), r, N).permute(2, 0, 1)  # P: (N, T, r)
        Y = torch.bmm(Z, self._scaled()).permute(1, 2, 0)  # P': (T, d_out / N, N)
        return Y.reshape(*x.shape[:-1], N * self.L.shape[2])  # (..., d_out)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        """(d_in, N · r), the first block-diagonal matrix, and (N · r, d_out), all that follows."""
        right = torch.diag_embed(self._scaled().permute(1, 2, 0)).transpose(1, 2)  # (r, N, d_out / N, N)
        left = torch.diag_embed(self.R.permute(1, 2, 0)).permute(2, 0, 3, 1)  # (N, d_in / N, N, r)
        return left.reshape(-1, self.update_rank), right.reshape(self.update_rank, -1)

    def delta(self) -> Tensor:
        """(d_out, d_in): what merging adds to an ``nn.Linear`` weight."""
        left, right = self.low_rank()
        return (left @ right).T

    def _scaled(self) -> Tensor:
        return self.L if self.scaling == 1.0 else self.scaling * self.L
