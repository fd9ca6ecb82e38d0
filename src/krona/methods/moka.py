"""MoKA, a mixture of Kronecker adapters (arXiv 2508.03527): a weighted sum of products of several shapes."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from krona.kernels.kronecker import kron_matmul, kron_product
from krona.messages import KronaError
from krona.methods.arguments import check_choice, check_float
from krona.methods.factor_shapes import Shape, factor_shapes, nearest_shapes


class MoKA(nn.Module):
    """``s · Σᵢ wᵢ x (Aᵢ ⊗ Bᵢ)`` with ``w = softmax(g)``.

    Shapes: Aᵢ (a1, a2), Bᵢ (d_in / a1, d_out / a2), one gate gᵢ for each product.
    Start: Aᵢ Kaiming-uniform (a = √5: bound 1/√a1), Bᵢ 0, so the output is the backbone's; g 0: equal weights.
    Parameters: Σᵢ (a1·a2 + d_in·d_out / (a1·a2) + 1).
    Rank of the update: at most Σᵢ min(a1, a2) · min(d_in / a1, d_out / a2).

    The paper has no public code. This is one reading of it (docs/fidelity.md).

    Args:
        shapes: [a1, a2] of each Aᵢ.
        fit: ``nearest`` replaces a shape that does not divide the layer by the fitting shape with the nearest
            log(a1/a2), and drops duplicates; ``exact`` refuses it.
        scaling: s, fixed.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        shapes: Sequence[Sequence[int]],
        fit: Literal["nearest", "exact"] = "exact",
        scaling: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice("fit", fit, ("nearest", "exact"))
        self.scaling = check_float("scaling", scaling)
        pairs = fitted_pairs(shapes, d_in, d_out, nearest=fit == "nearest")
        self.A = nn.ParameterList(torch.empty(shape_a) for shape_a, _ in pairs)
        self.B = nn.ParameterList(torch.empty(shape_b) for _, shape_b in pairs)
        self.gates = nn.Parameter(torch.empty(len(pairs)))
        self.update_rank = min(d_in, d_out, sum(min(shape_a) * min(shape_b) for shape_a, shape_b in pairs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for A, B in zip(self.A, self.B, strict=True):
            bound = 1 / math.sqrt(len(A))
            nn.init.uniform_(A, -bound, bound)
            nn.init.zeros_(B)
        nn.init.zeros_(self.gates)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.scaling * self.gates.softmax(0)
        products = [kron_matmul(x, A, w * B) for w, A, B in zip(weights, self.A, self.B, strict=True)]
        return sum(products[1:], products[0])

    def delta(self) -> Tensor:
        weights = self.scaling * self.gates.softmax(0)
        products = [kron_product(A.T, w * B.T) for w, A, B in zip(weights, self.A, self.B, strict=True)]
        return sum(products[1:], products[0])


def fitted_pairs(shapes: Sequence[Sequence[int]], d_in: int, d_out: int, *, nearest: bool) -> list[tuple[Shape, Shape]]:
    """Return the shapes of A and B of each product on a layer d_in → d_out.

    Raises:
        KronaError: no shapes, or a shape that does not fit and is not to be replaced.
    """
    if isinstance(shapes, str) or not shapes:
        raise KronaError(f"method.shapes={shapes!r}: expected a list of shapes of A, such as [[32, 24], [2, 384]].")
    pairs = []
    for a in shapes:
        fits = len(a) == 2 and all(isinstance(side, int) and side > 0 for side in a)
        if nearest and fits and (d_in % a[0] or d_out % a[1] or d_in == a[0] or d_out == a[1]):
            near = nearest_shapes((a[0], a[1]), d_in, d_out)
            if not near:
                raise KronaError(f"method.shapes: no factors with sides of at least 2 fit a layer {d_in} → {d_out}.")
            a = near[0]
        pairs.append(factor_shapes([a], d_in, d_out))
    return list(dict.fromkeys(pairs))
