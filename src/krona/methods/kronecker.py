"""Define KronA, parallel to a layer (Eq. 3), and KronA^B and KronA^B_res, parallel to a block (Eq. 5 and 6)."""

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from krona.kernels.kronecker_product import kron_matmul, kron_product, with_identity
from krona.messages import KronaError
from krona.methods.branch import Branch, check_choice, check_int, get_non_linearity, kaiming_uniform
from krona.methods.factor_shapes import factor_shapes
from krona.methods.lokr import split_width
from krona.methods.magnitude import kronecker_norm_change


class Kronecker(Branch):
    """The update ``s · (x (A ⊗ B) + b) + s_res · x`` (Eq. 3, 5, 6). The bias b and the residual are optional.

    The shapes are A (a1, a2) and B (b1, b2) with a1·b1 = d_in and a2·b2 = d_out. With several terms, A and B have a
    leading dimension ``terms``. The layout is row-major (Eq. 2): one token is ``X = x.view(a1, b1)``, and its output is
    ``Y = Aᵀ X B``, flattened.

    A is initialised Kaiming-uniform (a = √5, bound 1/√a1), and B (Table 4) and the biases with zeros. Without a
    residual, the output before training therefore equals the backbone's. The number of parameters is
    terms · (a1·a2 + b1·b2), plus d_out for the bias, terms · b2 for the inner bias and 1 for the residual. Without a
    non-linearity and a residual, the rank of the update is at most terms · min(a1, a2) · min(b1, b2).

    Args:
        kron_factors: [[a1, a2], [b1, b2]], or [[a1, a2]] to derive the shape of B from the layer.
        scaling: the fixed factor s, which also multiplies the biases (as in PA), but not the residual (Eq. 6).
        bias: 0 for no bias, 1 for a bias of the output (d_out), or 2 for this bias and a bias (b2) of the intermediate
            result ``X B``. See Appendix B.2 of the KronA paper.
        non_linearity: the function σ in ``Aᵀ σ(X B)`` (Table 6): mish, relu, gelu, gelu_new, silu, or None.
        residual: ``scale`` trains the factor s_res, which is initialised with 1 (Eq. 6). ``sigmoid`` uses σ(s_res) as
            the factor (Table 7). None means no residual.
        init: ``kaiming`` uses the initial values that are described above. ``normal`` draws A and B from a normal
            distribution with mean 0 and standard deviation 1/√d_in (Table 4).
        terms: the number of products in the sum, which is 1 in KronA.
    """

    peft_type = "LOKR"

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
        check_int("bias", bias, low=0, high=2)
        check_int("terms", terms, low=1, high=min(d_in, d_out), why="the smaller width of the layer")
        check_choice("residual", residual, (None, "scale", "sigmoid"))
        check_choice("init", init, ("kaiming", "normal"))
        if residual is not None and d_in != d_out:
            raise KronaError(f"method.residual={residual} needs a layer of equal widths, not {d_in} → {d_out}.")
        self.scaling = scaling
        self.non_linearity = None if non_linearity is None else get_non_linearity(non_linearity)
        self.residual, self.init = residual, init
        stack = (terms,) if terms > 1 else ()
        self.A = nn.Parameter(torch.empty(*stack, *shape_a))
        self.B = nn.Parameter(torch.empty(*stack, *shape_b))
        self.bias = nn.Parameter(torch.empty(d_out)) if bias else None
        self.inner_bias = nn.Parameter(torch.empty(*stack, shape_b[1])) if bias == 2 else None
        self.residual_scale = nn.Parameter(torch.empty(())) if residual else None
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
            kaiming_uniform(self.A, self.A.shape[-2])
            nn.init.zeros_(self.B)
        for bias in (self.bias, self.inner_bias):
            if bias is not None:
                nn.init.zeros_(bias)
        if self.residual_scale is not None:
            nn.init.ones_(self.residual_scale)

    def forward(self, x: Tensor) -> Tensor:
        y = kron_matmul(x, self.A, self._scaled(self.B)) if self._plain() else self._apply_inner(x)
        if self.bias is not None:
            y = y + self._scaled(self.bias)
        if self.residual_scale is not None:
            y = y + self.gate() * x
        return y

    def add_to(self, y: Tensor, x: Tensor, *others: "Kronecker") -> Tensor:
        branches = (self, *others)
        if not self._plain():
            return super().add_to(y, x, *others)
        biases = [branch._scaled(branch.bias) for branch in branches if branch.bias is not None]
        gates = [branch.gate() for branch in branches if branch.residual_scale is not None]
        if biases:
            y = y + functools.reduce(torch.add, biases)
        if gates:
            y = torch.addcmul(y, x, functools.reduce(torch.add, gates))
        A = _stack_terms([branch.A for branch in branches])
        return y + kron_matmul(x, A, _stack_terms([branch._scaled(branch.B) for branch in branches]))

    def gate(self) -> Tensor:
        """Return the factor of the residual as a scalar tensor."""
        assert self.residual_scale is not None
        return self.residual_scale.sigmoid() if self.residual == "sigmoid" else self.residual_scale

    def delta(self) -> Tensor:
        """Return the update of the weight, ``s · Σ Aᵀ ⊗ Bᵀ``, (d_out, d_in) (Eq. 4), plus s_res · I with a residual.

        Raises:
            KronaError: the branch has a bias or a non-linearity.
        """
        if self.non_linearity is not None:
            raise KronaError("With a non-linearity the update is not linear. Set method.non_linearity=null.")
        if self.bias is not None:
            raise KronaError("A bias cannot be merged, because only weights are merged. Set method.bias=0.")
        D = self.scaling * kron_product(self.A.mT, self.B.mT)
        if self.residual_scale is not None:
            D = D + self.gate() * torch.eye(D.shape[0], dtype=D.dtype, device=D.device)
        return D

    def low_rank(self) -> tuple[Tensor, Tensor] | None:
        """Return low-rank factors of the update without its bias.

        The factors follow from ``A ⊗ B = (L_A ⊗ L_B)(R_A ⊗ R_B)`` with L_A R_A = A and L_B R_B = B. One of L_A
        and R_A is the identity, and one of L_B and R_B.
        """
        if self.non_linearity is not None or self.residual_scale is not None:
            return None
        lefts, rights = [], []
        for A, B in [(self.A, self.B)] if self.A.dim() == 2 else zip(self.A, self.B, strict=True):
            (left_a, right_a), (left_b, right_b) = with_identity(A), with_identity(self.scaling * B)
            lefts.append(kron_product(left_a, left_b))
            rights.append(kron_product(right_a, right_b))
        return torch.cat(lefts, dim=1), torch.cat(rights, dim=0)  # (d_in, r), (r, d_out)

    def norm_change(self, W: Tensor) -> Tensor | None:
        if self.residual_scale is not None or self.A.dim() == 3:
            return None
        return kronecker_norm_change(W, self.A, self._scaled(self.B))

    def to_peft(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Return the branch as LoKr with two full matrices, or None if peft does not support the shapes of A and B."""
        if self.A.dim() != 2 or self.residual_scale is not None:
            return None
        (a1, a2), (b1, b2) = self.A.shape, self.B.shape
        for factor in (a1, a2, -1):
            if split_width(a1 * b1, factor) == (a1, b1) and split_width(a2 * b2, factor) == (a2, b2):
                rank = math.ceil(max(b1, b2) / 2)  # so large that peft does not factorise the matrices
                config = {"r": rank, "alpha": self.scaling * rank, "decompose_factor": factor}
                return config, {"lokr_w1": self.A.T, "lokr_w2": self.B.T}
        return None

    def _plain(self) -> bool:
        return self.non_linearity is None and self.inner_bias is None

    def _scaled(self, weight: Tensor) -> Tensor:
        return weight if self.scaling == 1.0 else self.scaling * weight

    def _apply_inner(self, x: Tensor) -> Tensor:
        """Return ``s · Σₜ Aₜᵀ σ(X Bₜ + b_inner,ₜ)``, (..., d_out). The products with Bₜ are computed first."""
        outputs = list[Tensor]()
        for term, A in enumerate(self.A if self.A.dim() == 3 else [self.A]):
            B = self.B[term] if self.B.dim() == 3 else self.B
            Z = x.reshape(-1, A.shape[0], B.shape[0]) @ B  # (N, a1, b2)
            if self.inner_bias is not None:
                Z = Z + (self.inner_bias[term] if self.inner_bias.dim() == 2 else self.inner_bias)
            if self.non_linearity is not None:
                Z = self.non_linearity(Z)
            outputs.append(self._scaled(A).T @ Z)  # (N, a2, b2)
        return functools.reduce(torch.add, outputs).reshape(*x.shape[:-1], -1)


def _stack_terms(factors: list[Tensor]) -> Tensor:
    if len(factors) == 1:
        return factors[0]
    return torch.stack(factors) if factors[0].dim() == 2 else torch.cat(factors)  # (T, …)
