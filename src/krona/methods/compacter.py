"""Compacter (Mahabadi et al. 2021): an adapter whose two weights are sums of Kronecker products with shared factors."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.branch import Branch, check_divisor, check_int, get_non_linearity


class Compacter(Branch):
    """The update ``σ(h W_down + b_down) W_up + b_up``, where each weight is a sum ``W = Σᵢ Rᵢ ⊗ (Sᵢ Tᵢ)``.

    The placement is sequential: the update is added to h, the output of a sub-layer.

    The tensor R (n, n, n) with n = ``hypercomplex_division`` is called the rule, and is shared by all weights of
    all branches. Each weight has its own S (n, rows / n, factor_rank) and T (n, factor_rank, columns / n).

    R is initialised from a normal distribution (mean 0, standard deviation 1e-4), S and T Xavier-uniform with gain √2,
    and the biases with zeros. The update is therefore about 1e-8 before training. The number of parameters is n³ for
    the rule, and factor_rank · (d_in + d_out + 2 bottleneck_dim) + bottleneck_dim + d_out for each branch. The rank of
    the update is at most min(n² · factor_rank, bottleneck_dim).
    """

    shared = ("rule",)

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        hypercomplex_division: int = 4,
        bottleneck_dim: int = 24,
        factor_rank: int = 1,
        non_linearity: str = "gelu_new",
    ) -> None:
        super().__init__()
        n = check_divisor("hypercomplex_division", hypercomplex_division, d_in, d_out)
        check_int("bottleneck_dim", bottleneck_dim, low=1, high=min(d_in, d_out))
        if bottleneck_dim % n:
            raise KronaError(f"method.bottleneck_dim={bottleneck_dim} is not a multiple of hypercomplex_division={n}.")
        check_int("factor_rank", factor_rank, low=1, high=max(1, min(d_in, d_out, bottleneck_dim) // n))
        self.non_linearity = get_non_linearity(non_linearity)
        self.rule = nn.Parameter(torch.empty(n, n, n))
        self.down_left = nn.Parameter(torch.empty(n, d_in // n, factor_rank))
        self.down_right = nn.Parameter(torch.empty(n, factor_rank, bottleneck_dim // n))
        self.down_bias = nn.Parameter(torch.empty(bottleneck_dim))
        self.up_left = nn.Parameter(torch.empty(n, bottleneck_dim // n, factor_rank))
        self.up_right = nn.Parameter(torch.empty(n, factor_rank, d_out // n))
        self.up_bias = nn.Parameter(torch.empty(d_out))
        self.update_rank = min(n * n * factor_rank, bottleneck_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.rule, std=1e-4)
        for factor in (self.down_left, self.down_right, self.up_left, self.up_right):
            bound = math.sqrt(2) * math.sqrt(6 / (factor.shape[1] + factor.shape[2]))
            nn.init.uniform_(factor, -bound, bound)
        for bias in (self.down_bias, self.up_bias):
            nn.init.zeros_(bias)

    def weights(self) -> tuple[Tensor, Tensor]:
        """Return W_down (d_in, bottleneck_dim) and W_up (bottleneck_dim, d_out)."""
        W_down = sum_of_products(self.rule, self.down_left @ self.down_right)
        return W_down, sum_of_products(self.rule, self.up_left @ self.up_right)

    def forward(self, h: Tensor) -> Tensor:
        (n, rows, factor_rank), columns = self.down_left.shape, self.up_right.shape[2]
        if n * factor_rank >= len(self.down_bias):  # the factors are not smaller than the weights
            W_down, W_up = self.weights()
            z = self.non_linearity(F.linear(h, W_down.T, self.down_bias))  # (..., bottleneck_dim)
            return F.linear(z, W_up.T, self.up_bias)  # (..., d_out)
        N, (down, up) = h.numel() // h.shape[-1], self._inner_weights()
        left = h.reshape(N * n, rows) @ self.down_left.transpose(0, 1).reshape(rows, n * factor_rank)
        z = self.non_linearity(F.linear(left.view(N, len(down)), down.T, self.down_bias))  # (N, bottleneck_dim)
        right = (z @ up).view(N * n, n * factor_rank) @ self.up_right.view(n * factor_rank, columns)
        return right.view(*h.shape[:-1], n * columns) + self.up_bias  # (..., d_out)

    def _inner_weights(self) -> tuple[Tensor, Tensor]:
        """Return two matrices: the rule times W_down's T, and the rule times W_up's S.

        With r = ``bottleneck_dim``, the shapes are (n² · factor_rank, r) and (r, n² · factor_rank). To apply W_down,
        multiply each of the n parts of a token by the factors S, and then multiply the results by the first matrix. To
        apply W_up, multiply by the second matrix and then by the factors T. Both matrices are much smaller than W_down
        and W_up.
        """
        T, S = self.down_right, self.up_left  # (n, factor_rank, r/n), (n, r/n, factor_rank)
        R = self.rule.to(T.dtype)  # branches with different dtypes share the rule
        n, factor_rank, width = T.shape
        down = R.transpose(0, 1)[:, :, None, :, None] * T[None, :, :, None, :]  # [a, i, q, c, t] = Rᵢ[a, c] Tᵢ[q, t]
        up = R.permute(1, 2, 0)[:, None, :, :, None] * S.transpose(0, 1)[None, :, None, :, :]  # [a, s, c, i, q]
        return down.reshape(n * n * factor_rank, n * width), up.reshape(n * width, n * n * factor_rank)


def sum_of_products(R: Tensor, B: Tensor) -> Tensor:
    """Return ``Σᵢ Rᵢ ⊗ Bᵢ``, (a1·b1, a2·b2), for R (n, a1, a2) and B (n, b1, b2).

    One matrix product computes the sum over i.
    """
    (n, a1, a2), (_, b1, b2) = R.shape, B.shape
    product = R.to(B.dtype).reshape(n, a1 * a2).T @ B.reshape(n, b1 * b2)
    return product.reshape(a1, a2, b1, b2).transpose(1, 2).reshape(a1 * b1, a2 * b2)
