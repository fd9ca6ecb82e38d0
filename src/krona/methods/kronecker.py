"""The Kronecker branch: KronA beside a weight matrix (Eq. 3), KronA^B and KronA^B_res beside a block (Eq. 5, 6).

Row-major reading of Eq. 2: for ``y = x (A ⊗ B)`` with ``A: (a1, a2)``, ``B: (b1, b2)``, ``a1·b1 = d_in`` and
``a2·b2 = d_out``, the input of one token is ``X = x.view(a1, b1)`` and the output ``Y = Aᵀ X B``, flattened.
A step contracts with the factors in the cheapest order, or builds ``A ⊗ B`` or merges it if that costs less
(`krona.kernels.kronecker`).
"""

import functools
import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.kernels.kronecker import kron_add, kron_linear, kron_matmul
from krona.messages import KronaError
from krona.methods.arguments import choice, finite, whole
from krona.methods.factor_shapes import factor_b, factor_shapes, nearest_shapes, shape_name
from krona.methods.non_linearity import non_linearity_named


def kron_product(A: Tensor, B: Tensor) -> Tensor:
    """``A ⊗ B`` itself (Eq. 1): (a1·b1, a2·b2). torch.kron, which refuses some transposed factors with a side of 1."""
    return (A[:, None, :, None] * B[None, :, None, :]).reshape(A.shape[0] * B.shape[0], A.shape[1] * B.shape[1])


class Kronecker(nn.Module):
    """``s · (x (A ⊗ B) + b) + s_res · x`` (Eq. 3, 5, 6): ``b`` and the residual are optional.

    ``A`` starts Kaiming-uniform (a = √5), ``B`` at zero (Table 4), biases at zero, so training starts at the backbone.
    The bound of Kaiming-uniform depends on the fan-in: that is a1, the side of ``A`` that is contracted with the input:
    1/√a1.

    Args:
        kron_factors: [[a1, a2], [b1, b2]], or [[a1, a2]]: B follows from the layer.
        scaling: s, fixed. It multiplies the biases too (as in PA), not the residual (Eq. 6).
        bias: 0, 1: an output bias (d_out), or 2: besides it one on the intermediate ``X B`` (b2), B.2.
        non_linearity: between the products, ``Aᵀ σ(X B)`` (Table 6): mish, relu, gelu, gelu_new, silu; null: none.
        residual: ``scale``: s_res, learned, from 1 (Eq. 6); ``sigmoid``: σ(s_res), from σ(1) (Table 7); null: none.
        init: ``kaiming`` as above, or ``normal``: A and B from N(0, 1/√d_in), the standard deviation (Table 4).
        terms: a sum of this many products; 1 is KronA.

    Parameters: terms · (a1·a2 + b1·b2), and d_out, terms · b2 and 1 for what is switched on.
    Rank of the linear update: at most terms · min(a1, a2) · min(b1, b2).
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        kron_factors: Sequence[Sequence[int]],
        scaling: float = 1.0,
        bias: int = 0,
        non_linearity: str | None = None,
        residual: Literal["scale", "sigmoid"] | None = None,
        init: Literal["kaiming", "normal"] = "kaiming",
        terms: int = 1,
    ) -> None:
        super().__init__()
        shape_a, shape_b = factor_shapes(kron_factors, d_in, d_out)
        whole("bias", bias, low=0, high=2)
        whole("terms", terms, low=1)
        choice("residual", residual, (None, "scale", "sigmoid"))
        choice("init", init, ("kaiming", "normal"))
        if residual is not None and d_in != d_out:
            raise KronaError(f"method.residual adds the input to the output, but the layer is {d_in} → {d_out}")
        self.scaling = finite("scaling", scaling)
        self.non_linearity = None if non_linearity is None else non_linearity_named(non_linearity)
        self.residual, self.init = residual, init
        stack = (terms,) if terms > 1 else ()
        self.A = nn.Parameter(torch.empty(*stack, *shape_a))
        self.B = nn.Parameter(torch.empty(*stack, *shape_b))
        self.bias = nn.Parameter(torch.empty(d_out)) if bias else None
        self.inner_bias = nn.Parameter(torch.empty(*stack, shape_b[1])) if bias == 2 else None
        self.residual_scale = nn.Parameter(torch.empty(())) if residual else None
        self.update_rank: int | None = None  # not linear
        if non_linearity is None:
            rank = terms * min(shape_a) * min(shape_b)
            self.update_rank = min(d_in, d_out) if residual else min(d_in, d_out, rank)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.init == "normal":
            d_in = self.A.shape[-2] * self.B.shape[-2]
            nn.init.normal_(self.A, std=1 / math.sqrt(d_in))
            nn.init.normal_(self.B, std=1 / math.sqrt(d_in))
        else:
            bound = 1 / math.sqrt(self.A.shape[-2])
            nn.init.uniform_(self.A, -bound, bound)
            nn.init.zeros_(self.B)
        for bias in (self.bias, self.inner_bias):
            if bias is not None:
                nn.init.zeros_(bias)
        if self.residual_scale is not None:
            nn.init.ones_(self.residual_scale)

    def forward(self, x: Tensor) -> Tensor:
        y = kron_matmul(x, self.A, self._scaled(self.B)) if self._bare_product() else self._between(x)
        if self.bias is not None:
            y = y + self._scaled(self.bias)
        if self.residual_scale is not None:
            y = y + self.gate() * x
        return y

    def beside(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """``layer(x) + self(x)`` in one step, for a frozen layer."""
        if not self._bare_product() or self.bias is not None or self.residual_scale is not None:
            return F.linear(x, layer.weight, layer.bias) + self.forward(x)
        return kron_linear(layer, x, self.A, self._scaled(self.B))

    def add_to(self, y: Tensor, x: Tensor, *others: "Kronecker") -> Tensor:
        """``y + self(x) + Σ other(x)``: the branches of a place as one product of more terms, added as it is made."""
        branches = (self, *others)
        if not self._bare_product():
            for branch in branches:
                y = y + branch(x)
            return y
        return kron_add(
            y,
            x,
            _terms([branch.A for branch in branches]),
            _terms([branch._scaled(branch.B) for branch in branches]),
            bias=_total([branch._scaled(branch.bias) for branch in branches if branch.bias is not None]),
            gate=_total([branch.gate() for branch in branches if branch.residual_scale is not None]),
        )

    def _bare_product(self) -> bool:
        return self.non_linearity is None and self.inner_bias is None

    def _scaled(self, weight: Tensor) -> Tensor:
        return weight if self.scaling == 1.0 else self.scaling * weight

    def gate(self) -> Tensor:
        assert self.residual_scale is not None
        return self.residual_scale.sigmoid() if self.residual == "sigmoid" else self.residual_scale

    def _between(self, x: Tensor) -> Tensor:
        """``s · Aᵀ σ(X B + b_inner)``, in this order."""
        total: Tensor | None = None
        for term, A in enumerate(self.A if self.A.dim() == 3 else [self.A]):
            B = self.B[term] if self.B.dim() == 3 else self.B
            Z = x.reshape(-1, A.shape[0], B.shape[0]) @ B  # (N, a1, b2)
            if self.inner_bias is not None:
                Z = Z + (self.inner_bias[term] if self.inner_bias.dim() == 2 else self.inner_bias)
            if self.non_linearity is not None:
                Z = self.non_linearity(Z)
            Y = self._scaled(A).T @ Z  # (N, a2, b2)
            total = Y if total is None else total + Y
        assert total is not None
        return total.reshape(*x.shape[:-1], -1)

    def delta(self) -> Tensor:
        """(d_out, d_in): s · Aᵀ ⊗ Bᵀ, what merging adds to a weight (Eq. 4); with a residual, + s_res · I."""
        if self.bias is not None and self.non_linearity is None:
            raise KronaError("a bias makes the update more than a matrix, and T5's layers have none: method.bias=0")
        return self.linear_part()

    def linear_part(self) -> Tensor:
        """(d_out, d_in): the update but for its biases, s · Aᵀ ⊗ Bᵀ and s_res · I."""
        if self.non_linearity is not None:
            raise KronaError(
                "a non-linearity between the products makes the update no matrix: method.non_linearity=null"
            )
        pairs = [(self.A, self.B)] if self.A.dim() == 2 else zip(self.A, self.B, strict=True)
        D = self.scaling * torch.stack([kron_product(A.T, B.T) for A, B in pairs]).sum(0)
        if self.residual_scale is not None:
            D = D + self.gate() * torch.eye(D.shape[0], dtype=D.dtype, device=D.device)
        return D

    @staticmethod
    def fit_to_layer(
        kron_factors: Sequence[Sequence[int]], d_in: int, d_out: int, counterparts: dict[str, Sequence[int]]
    ) -> list[list[int]]:
        """The paper's shape on a layer of another width; factors that fit are returned unchanged.

        From the backbone's ``counterparts`` (``{"32x24": [16, 12]}``), else the fitting shape of A with the nearest
        log(a1/a2), every side of A and B at least 2.
        """
        a1, a2 = kron_factors[0]
        b1, b2 = kron_factors[1] if len(kron_factors) > 1 else factor_b((a1, a2), d_in, d_out)
        if (a1 * b1, a2 * b2) == (d_in, d_out):
            return [list(shape) for shape in kron_factors]
        named = counterparts.get(shape_name((a1, a2)))
        near = [named] if named else nearest_shapes((a1, a2), d_in, d_out)
        if not near:
            raise KronaError(f"no factors with every side ≥ 2 fit a layer {d_in} → {d_out}")
        return [list(near[0]), list(factor_b(near[0], d_in, d_out))]


def _terms(factors: list[Tensor]) -> Tensor:
    """Factors of several branches as one sum's: (T, …); one branch's are its own."""
    if len(factors) == 1:
        return factors[0]
    return torch.stack(factors) if factors[0].dim() == 2 else torch.cat(factors)


def _total(addends: list[Tensor]) -> Tensor | None:
    return None if not addends else functools.reduce(torch.add, addends)
