"""MoKA, a mixture of Kronecker adapters (arXiv 2508.03527): the update is a weighted sum of Kronecker products."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from krona.kernels.kronecker_product import kron_matmul, kron_product
from krona.messages import KronaError
from krona.methods.branch import Branch, check_choice, kaiming_uniform
from krona.methods.factor_shapes import Shape, factor_shapes, nearest_shapes


class MoKA(Branch):
    """The update ``s · Σᵢ wᵢ x (Aᵢ ⊗ Bᵢ)`` with ``w = softmax(g)``.

    The shapes are Aᵢ (a1, a2) and Bᵢ (d_in / a1, d_out / a2). Each product has a gate gᵢ, a single number. Aᵢ is
    initialised Kaiming-uniform (a = √5, bound 1/√a1), and Bᵢ and g with zeros. Before training, the output therefore
    equals the backbone's, and all products have the same weight. The number of parameters is Σᵢ (a1·a2 +
    d_in·d_out / (a1·a2) + 1). The rank of the update is at most Σᵢ min(a1, a2) · min(d_in / a1, d_out / a2).

    The authors have not published code. This class is an interpretation of their paper (docs/methods/index.md).

    Args:
        shapes: a list with the shape [a1, a2] of each Aᵢ.
        fit: the behaviour if a1 or a2 does not divide the layer's width. ``exact`` raises an error. ``nearest`` uses
            the fitting shape with the nearest log(a1/a2) instead, and removes duplicate shapes.
        scaling: the fixed factor s.
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
        self.scaling = scaling
        pairs = fitted_pairs(shapes, d_in, d_out, nearest=fit == "nearest")
        self.A = nn.ParameterList(torch.empty(shape_a) for shape_a, _ in pairs)
        self.B = nn.ParameterList(torch.empty(shape_b) for _, shape_b in pairs)
        self.gates = nn.Parameter(torch.empty(len(pairs)))
        self.update_rank = min(d_in, d_out, sum(min(shape_a) * min(shape_b) for shape_a, shape_b in pairs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for A, B in zip(self.A, self.B, strict=True):
            kaiming_uniform(A, len(A))
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
    """Return the shapes of A and B of each product for a layer d_in → d_out.

    Args:
        shapes: a list with the shape of each A.
        nearest: replace a shape that does not fit the layer by the nearest fitting shape.

    Raises:
        KronaError: the list is empty, or a shape does not fit and is not replaced.
    """
    if not shapes:
        raise KronaError(
            f"method.shapes={shapes!r} is not a list of shapes of A. Use a list such as [[32, 24], [2, 384]]."
        )
    pairs = []
    for a in shapes:
        if nearest and len(a) == 2 and min(a) > 0 and (d_in % a[0] or d_out % a[1] or d_in == a[0] or d_out == a[1]):
            near = nearest_shapes((a[0], a[1]), d_in, d_out)
            if not near:
                raise KronaError(
                    f"method.shapes={shapes!r} cannot be replaced, because no factors with sides of at least 2 fit a "
                    f"layer {d_in} → {d_out}."
                )
            a = near[0]
        pairs.append(factor_shapes([a], d_in, d_out))
    return list(dict.fromkeys(pairs))
