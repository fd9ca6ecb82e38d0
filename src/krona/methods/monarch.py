"""MoRe (Tan et al. 2024): the update is the product of two block-diagonal matrices, each followed by a permutation."""

import torch
from torch import Tensor, nn

from krona.methods.branch import Branch, check_divisor, check_int, kaiming_uniform


class Monarch(Branch):
    """The update ``s · x diag(R_1 … R_N) P diag(L_1 … L_N) P'``.

    Such a product is called a Monarch matrix. The shapes are R_k (d_in / N, r) and L_k (r, d_out / N). The permutation
    P moves the number at position a·N + c to position a + c·r. The input of each block L_c therefore comes from up to r
    blocks R_k. The permutation P' moves output i of L_c to position i·N + c. R is initialised Kaiming-uniform (a = √5,
    bound 1/√(d_in / N)) and L with zeros. Before training, the output therefore equals the backbone's. The number of
    parameters is r · (d_in + d_out) for every N. The rank of the update is at most N · r.

    Args:
        blocks: the number N of blocks, a divisor of both widths.
        block_rank: the rank r of a block.
        scaling: the factor s. The MoRe paper does not have this factor.
    """

    def __init__(self, d_in: int, d_out: int, *, blocks: int = 4, block_rank: int = 1, scaling: float = 1.0) -> None:
        super().__init__()
        N = check_divisor("blocks", blocks, d_in, d_out)
        high = min(d_in, d_out) // N
        r = check_int("block_rank", block_rank, low=1, high=high, why="the smaller width of a block")
        self.scaling = scaling
        self.R = nn.Parameter(torch.empty(N, d_in // N, r))
        self.L = nn.Parameter(torch.empty(N, r, d_out // N))
        self.update_rank = N * r
        self.reset_parameters()

    def reset_parameters(self) -> None:
        kaiming_uniform(self.R, self.R.shape[1])
        nn.init.zeros_(self.L)

    def forward(self, x: Tensor) -> Tensor:
        N, block, r = self.R.shape
        X = x.reshape(-1, N, block)  # T tokens: (T, N, d_in / N)
        Z = torch.bmm(X.transpose(0, 1), self.R).transpose(0, 1)  # (T, N, r)
        Z = Z.reshape(len(X), r, N).permute(2, 0, 1)  # P: (N, T, r)
        Y = torch.bmm(Z, self.scaling * self.L).permute(1, 2, 0)  # P': (T, d_out / N, N)
        return Y.reshape(*x.shape[:-1], N * self.L.shape[2])  # (..., d_out)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        """Return the first block-diagonal matrix (d_in, N · r), and the product of the other factors (N · r, d_out)."""
        rank = self.R.shape[0] * self.R.shape[2]
        left = torch.diag_embed(self.R.permute(1, 2, 0)).permute(2, 0, 3, 1)  # (N, d_in / N, N, r)
        right = torch.diag_embed((self.scaling * self.L).permute(1, 2, 0)).transpose(1, 2)  # (r, N, d_out / N, N)
        return left.reshape(-1, rank), right.reshape(rank, -1)

    def delta(self) -> Tensor:
        left, right = self.low_rank()
        return (left @ right).T  # (d_out, d_in)
