"""Which shapes of A and B fit a layer, and which of them is nearest to one that does not."""

import math
from collections.abc import Sequence

from krona.messages import KronaError

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


def factor_fit(kron_factors: Sequence[Sequence[int]], d_in: int, d_out: int) -> bool:
    """Whether A ⊗ B maps d_in → d_out."""
    (a1, a2), (b1, b2) = kron_factors
    return (a1 * b1, a2 * b2) == (d_in, d_out)


def shape_name(shape: Sequence[int]) -> str:
    """``32x24``."""
    return "x".join(str(side) for side in shape)
