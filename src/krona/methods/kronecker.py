"""The Kronecker branch: KronA beside a weight matrix (Eq. 3), KronA^B and KronA^B_res beside a block (Eq. 5, 6).

Row-major reading of Eq. 2: for ``y = x (A ⊗ B)`` with ``A: (a1, a2)``, ``B: (b1, b2)``, ``a1·b1 = d_in`` and
``a2·b2 = d_out``, the input of one token is ``X = x.view(a1, b1)`` and the output ``Y = Aᵀ X B``, flattened.
The product ``A ⊗ B`` itself is never built in training.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from krona.errors import KronaError

Shape = tuple[int, int]


def fitting_shapes(d_in: int, d_out: int, *, smallest: int = 1) -> list[Shape]:
    """All shapes of A that leave a whole B = (d_in/a1, d_out/a2), no side of A or B below ``smallest``."""

    def sides(width: int) -> list[int]:
        return [s for s in range(smallest, width // smallest + 1) if width % s == 0]

    return [(a1, a2) for a1 in sides(d_in) for a2 in sides(d_out)]


def nearest_shapes(shape: Shape, d_in: int, d_out: int) -> list[Shape]:
    """The fitting shapes of A by distance of log(a1/a2) to ``shape``'s, then by number of parameters."""
    wanted = math.log(shape[0] / shape[1])

    def distance(a: Shape) -> tuple[float, int]:
        parameters = a[0] * a[1] + (d_in // a[0]) * (d_out // a[1])
        return round(abs(math.log(a[0] / a[1]) - wanted), 9), parameters

    return sorted(fitting_shapes(d_in, d_out, smallest=2), key=distance)


def factor_shapes(kron_factors: Sequence[Sequence[int]], d_in: int, d_out: int) -> tuple[Shape, Shape]:
    """Shapes of A and B for a layer d_in → d_out; B may be left out. A pair that does not fit is an error."""
    try:
        shapes = [(int(rows), int(columns)) for rows, columns in kron_factors]
        whole = all(isinstance(side, int) and side >= 1 for pair in kron_factors for side in pair)
    except (TypeError, ValueError):
        shapes, whole = [], False
    if not whole or len(shapes) not in (1, 2):
        raise KronaError(
            f"method.kron_factors={kron_factors!r}: expected [[a1, a2], [b1, b2]] or [[a1, a2]], whole numbers ≥ 1"
        )
    a1, a2 = shapes[0]
    if len(shapes) == 1:
        shapes.append((d_in // a1, d_out // a2))
    b1, b2 = shapes[1]
    if (a1 * b1, a2 * b2) != (d_in, d_out):
        near = ", ".join(
            f"[[{p},{q}],[{d_in // p},{d_out // q}]]" for p, q in nearest_shapes((a1, a2), d_in, d_out)[:3]
        )
        erratum = ""
        if (a1, a2) == (b1, b2) == (32, 24):
            erratum = " Tables 17 and 18 print this for STS-B, an erratum: read B as (24, 32)."
        raise KronaError(
            f"kron_factors ({a1}, {a2}) ⊗ ({b1}, {b2}) maps {a1 * b1} → {a2 * b2}, but the layer is "
            f"{d_in} → {d_out}.{erratum} Shapes that fit: {near or 'none with every side ≥ 2'}"
        )
    return (a1, a2), (b1, b2)


def kron_matmul(x: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """``x (A ⊗ B)`` without building the product: (..., a1·b1) → (..., a2·b2)."""
    (a1, a2), (b1, b2) = A.shape, B.shape
    X = x.reshape(-1, a1, b1)
    if a1 * b2 * (b1 + a2) <= a2 * b1 * (a1 + b2):  # multiply-adds a token: X B first, or Aᵀ X first
        Y = A.T @ (X @ B)  # (N, a1, b2) → (N, a2, b2)
    else:
        Y = (A.T @ X) @ B  # (N, a2, b1) → (N, a2, b2)
    return Y.reshape(*x.shape[:-1], a2 * b2)


class Kronecker(nn.Module):
    """``s · x (A ⊗ B)`` (Eq. 3).

    ``A`` starts Kaiming-uniform (a = √5), ``B`` at zero (Table 4), so training starts at the backbone. The bound of
    Kaiming-uniform depends on the fan-in: that is a1, the side of ``A`` that is contracted with the input: 1/√a1.
    Parameters: a1·a2 + b1·b2. Rank of the update: at most min(a1, a2) · min(b1, b2).
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        kron_factors: Sequence[Sequence[int]],
        scaling: float = 1.0,
    ) -> None:
        super().__init__()
        shape_a, shape_b = factor_shapes(kron_factors, d_in, d_out)
        self.scaling = scaling
        self.A = nn.Parameter(torch.empty(shape_a))
        self.B = nn.Parameter(torch.empty(shape_b))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.A.shape[0])
        nn.init.uniform_(self.A, -bound, bound)
        nn.init.zeros_(self.B)

    def forward(self, x: Tensor) -> Tensor:
        return kron_matmul(x, self.A, self.scaling * self.B)

    def delta(self) -> Tensor:
        """(d_out, d_in): s · Aᵀ ⊗ Bᵀ, what merging adds to an ``nn.Linear`` weight (Eq. 4)."""
        return self.scaling * torch.kron(self.A.T.contiguous(), self.B.T.contiguous())

    @staticmethod
    def fit_to_layer(
        kron_factors: Sequence[Sequence[int]], d_in: int, d_out: int, counterparts: dict[str, Sequence[int]]
    ) -> list[list[int]]:
        """The paper's shape on a layer of another width.

        A backbone may write its own ``counterparts`` (``{"32x24": [16, 12]}``); otherwise the fitting shape of A
        with the nearest log(a1/a2), every side of A and B at least 2. Factors that fit are returned unchanged.
        """
        a1, a2 = kron_factors[0]
        if d_in % a1 == 0 and d_out % a2 == 0 and (len(kron_factors) == 1 or factor_fit(kron_factors, d_in, d_out)):
            return [list(shape) for shape in kron_factors]
        near = [tuple(counterparts[f"{a1}x{a2}"])] if f"{a1}x{a2}" in counterparts else []
        near += nearest_shapes((a1, a2), d_in, d_out)
        if not near:
            raise KronaError(f"no factors with every side ≥ 2 fit a layer {d_in} → {d_out}")
        (p, q) = near[0]
        return [[p, q], [d_in // p, d_out // q]]


def factor_fit(kron_factors: Sequence[Sequence[int]], d_in: int, d_out: int) -> bool:
    """Whether A ⊗ B maps d_in → d_out."""
    (a1, a2), (b1, b2) = kron_factors
    return (a1 * b1, a2 * b2) == (d_in, d_out)
