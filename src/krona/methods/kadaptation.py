"""KAdaptation (He et al. 2023): the update is a sum of Kronecker products. All branches share the left factors."""

import torch
from torch import Tensor, nn

from krona.kernels.kronecker_product import kron_product
from krona.methods.branch import Branch, check_divisor, check_int, kaiming_uniform
from krona.methods.compacter import sum_of_products


class KAdaptation(Branch):
    """The update ``s · x Σᵢ Aᵢ ⊗ (uᵢ vᵢ)``.

    The tensor A (n, n, n) is called the rule. All branches share the rule. Each branch has its own
    uᵢ (d_in / n, factor_rank) and vᵢ (factor_rank, d_out / n). A and u are initialised Kaiming-uniform (a = √5, bounds
    1/√n and 1/√(d_in / n)) and v with zeros. Before training, the output therefore equals the backbone's. The number of
    parameters is n³ for the rule, and factor_rank · (d_in + d_out) for each branch. The rank of the update is at most
    n² · factor_rank.

    Args:
        hypercomplex_division: the size n of the rule. Compacter has the same argument.
        factor_rank: the rank of the products uᵢ vᵢ.
        scaling: the factor s. The KAdaptation paper does not have this factor.
    """

    shared = ("rule",)

    def __init__(
        self, d_in: int, d_out: int, *, hypercomplex_division: int = 4, factor_rank: int = 1, scaling: float = 1.0
    ) -> None:
        super().__init__()
        n = check_divisor("hypercomplex_division", hypercomplex_division, d_in, d_out)
        rank = check_int("factor_rank", factor_rank, low=1, high=min(d_in, d_out) // n)
        self.scaling = scaling
        self.rule = nn.Parameter(torch.empty(n, n, n))
        self.u = nn.Parameter(torch.empty(n, d_in // n, rank))
        self.v = nn.Parameter(torch.empty(n, rank, d_out // n))
        self.update_rank = min(d_in, d_out, n * n * rank)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for parameter in (self.rule, self.u):
            kaiming_uniform(parameter, parameter.shape[1])
        nn.init.zeros_(self.v)

    def forward(self, x: Tensor) -> Tensor:
        U, V, mix = self._matrices()
        left = x.reshape(-1, len(U)) @ U  # (N · n, n · rank): each of a token's n parts times all uᵢ
        mixed = left.view(-1, len(mix)) @ mix  # (N, n² · rank)
        return (mixed.view(-1, len(V)) @ V).view(*x.shape[:-1], len(self.rule) * V.shape[1])  # (..., d_out)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        U, V, mix = self._matrices()
        identity = torch.eye(len(self.rule), dtype=U.dtype, device=U.device)
        return kron_product(identity, U), mix @ kron_product(identity, V)  # (d_in, n² · rank), (n² · rank, d_out)

    def delta(self) -> Tensor:
        return self.scaling * sum_of_products(self.rule, self.u @ self.v).T  # (d_out, d_in)

    def _matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return u (d_in / n, n · rank), s · v (n · rank, d_out / n), and the matrix that applies the rule.

        The matrix is square and has n² · rank rows.
        """
        n, block, rank = self.u.shape
        rule = self.rule.to(self.u.dtype)  # branches with different dtypes share the rule
        mix = torch.diag_embed(rule.permute(1, 2, 0).repeat_interleave(rank, -1))  # [a, c, i, i] = Aᵢ[a, c]
        mix = mix.transpose(1, 2).reshape(n * n * rank, n * n * rank)
        return self.u.transpose(0, 1).reshape(block, n * rank), (self.scaling * self.v).reshape(n * rank, -1), mix
