"""KAdaptation (He et al. 2023): a sum of Kronecker products of a rule that places share and factors of low rank."""

import math

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.arguments import finite, whole
from krona.methods.compacter import sum_of_products
from krona.methods.kronecker import kron_product


class KAdaptation(nn.Module):
    """``s · x Σᵢ Aᵢ ⊗ (uᵢ vᵢ)``: the rule ``A: (n, n, n)``, ``uᵢ: (d_in / n, rank)``, ``vᵢ: (rank, d_out / n)``.

    The rule is one parameter for all places (``shared``). It and ``u`` start Kaiming-uniform (a = √5: bounds 1/√n and
    1/√(d_in / n), as KronA's A), ``v`` at zero, so training starts at the backbone.

    Args:
        hypercomplex_division: n, Compacter's word.
        factor_rank: the rank of the ``uᵢ vᵢ``.
        scaling: s; the source has none.

    LayerNorms do not train in the source; here they do unless ``train_layer_norms`` says otherwise.
    Parameters: factor_rank · (d_in + d_out) a place, whatever n, and n³ once.
    Rank of the update: at most n² · factor_rank.
    """

    shared = ("rule",)  # parameters that all places of one adapter have in common

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        hypercomplex_division: int = 4,
        factor_rank: int = 1,
        scaling: float = 1.0,
    ) -> None:
        super().__init__()
        n = whole("hypercomplex_division", hypercomplex_division, low=1)
        if d_in % n or d_out % n:
            raise KronaError(
                f"method.hypercomplex_division={n} does not divide both widths of a layer {d_in} → {d_out}; their "
                f"greatest common divisor is {math.gcd(d_in, d_out)}"
            )
        rank = whole("factor_rank", factor_rank, low=1, high=min(d_in, d_out) // n)
        self.scaling = finite("scaling", scaling)
        self.rule = nn.Parameter(torch.empty(n, n, n))
        self.u = nn.Parameter(torch.empty(n, d_in // n, rank))
        self.v = nn.Parameter(torch.empty(n, rank, d_out // n))
        self.update_rank = min(d_in, d_out, n * n * rank)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for parameter in (self.rule, self.u):
            bound = 1 / math.sqrt(parameter.shape[1])
            nn.init.uniform_(parameter, -bound, bound)
        nn.init.zeros_(self.v)

    def forward(self, x: Tensor) -> Tensor:
        U, V, mix = self._matrices()
        n = len(self.rule)
        left = x.reshape(-1, len(U)) @ U  # a token in n parts, each through all uᵢ: (T · n, n · rank)
        mixed = left.view(-1, len(mix)) @ mix  # (T, n · n · rank)
        return (mixed.view(-1, len(V)) @ V).view(*x.shape[:-1], n * V.shape[1])  # (..., d_out)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        """(d_in, n² · rank) and (n² · rank, d_out)."""
        U, V, mix = self._matrices()
        n = len(self.rule)
        one = torch.eye(n, dtype=U.dtype, device=U.device)
        return kron_product(one, U), mix @ kron_product(one, V)

    def delta(self) -> Tensor:
        """(d_out, d_in): what merging adds to an ``nn.Linear`` weight."""
        return self.scaling * sum_of_products(self.rule, self.u @ self.v).T

    def _matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """u (d_in / n, n · rank), v with the scale (n · rank, d_out / n), the rule (n² · rank, n² · rank) between."""
        n, block, rank = self.u.shape
        rule = self.rule.to(self.u.dtype)  # one for places of several dtypes
        mix = torch.diag_embed(rule.permute(1, 2, 0).repeat_interleave(rank, -1))  # [a, c, i, i]: Aᵢ[a, c]
        mix = mix.transpose(1, 2).reshape(n * n * rank, n * n * rank)
        v = self.v if self.scaling == 1.0 else self.scaling * self.v
        return self.u.transpose(0, 1).reshape(block, n * rank), v.reshape(n * rank, -1), mix
