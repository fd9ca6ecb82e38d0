"""Find shapes of the Kronecker factors A and B that fit a layer."""

import math
from collections.abc import Collection, Mapping, Sequence

from krona.messages import KronaError

Shape = tuple[int, int]


def fitting_shapes(d_in: int, d_out: int) -> list[Shape]:
    """Return all shapes (a1, a2) of A that fit the layer and for which no side of A or B is 1."""

    def sides(width: int) -> list[int]:
        return [side for side in range(2, width // 2 + 1) if width % side == 0]

    return [(a1, a2) for a1 in sides(d_in) for a2 in sides(d_out)]


def factor_b(a: Sequence[int], d_in: int, d_out: int) -> Shape:
    """Return the shape of B for a layer d_in → d_out and the shape ``a`` of A."""
    return d_in // a[0], d_out // a[1]


def nearest_shapes(shape: Shape, d_in: int, d_out: int) -> list[Shape]:
    """Return the fitting shapes of A, sorted by the difference between their log(a1/a2) and that of ``shape``.

    Shapes with equal differences are sorted by their numbers of parameters.
    """
    wanted = math.log(shape[0] / shape[1])

    def distance(a: Shape) -> tuple[float, int]:
        return round(abs(math.log(a[0] / a[1]) - wanted), 9), math.prod(a) + math.prod(factor_b(a, d_in, d_out))

    return sorted(fitting_shapes(d_in, d_out), key=distance)


def fit_factors(
    kron_factors: Sequence[Sequence[int]], layers: Collection[Shape], replacements: Mapping[str, Sequence[int]]
) -> list[list[int]]:
    """Return ``kron_factors`` if they fit all layers, or other shapes that do (``method.fit_factors: nearest``).

    If ``replacements`` has no shape of A, use the fitting shape with the nearest log(a1/a2). Its sides are at least 2.
    Layers of different widths (as in grouped-query attention) get the same A. The shape of B is then not returned.

    Args:
        layers: the widths (d_in, d_out) of the layers.
        replacements: maps shapes of A in the paper to the shapes that replace them in this backbone, such as
            ``{"32x24": [16, 12]}``.

    Raises:
        KronaError: no shape with sides of at least 2 fits the layers.
    """
    shapes = [list(shape) for shape in kron_factors]
    a1, a2 = shapes[0]
    several = len(layers) > 1
    if several and all(d_in % a1 == d_out % a2 == 0 and d_in // a1 > 1 < d_out // a2 for d_in, d_out in layers):
        return shapes[:1]
    d_in, d_out = (math.gcd(*sides) for sides in zip(*layers, strict=True))
    b1, b2 = shapes[1] if len(shapes) > 1 else factor_b((a1, a2), d_in, d_out)
    if (a1 * b1, a2 * b2) != (d_in, d_out):
        named = replacements.get(shape_name((a1, a2)))
        near = [named] if named else nearest_shapes((a1, a2), d_in, d_out)
        if not near:
            raise KronaError(f"No Kronecker factors with sides of at least 2 fit a layer {d_in} → {d_out}.")
        shapes = [list(near[0]), list(factor_b(near[0], d_in, d_out))]
    return shapes[:1] if several else shapes


def factor_shapes(kron_factors: Sequence[Sequence[int]], d_in: int, d_out: int) -> tuple[Shape, Shape]:
    """Return the shapes of A and B for a layer d_in → d_out.

    Args:
        kron_factors: [[a1, a2], [b1, b2]], or [[a1, a2]] if the shape of B follows from the layer.

    Raises:
        KronaError: ``kron_factors`` does not have this format, or the shapes do not fit the layer.
    """
    if len(kron_factors) not in (1, 2) or any(len(pair) != 2 or min(pair) < 1 for pair in kron_factors):
        raise KronaError(
            f"method.kron_factors={kron_factors!r} is not [[a1, a2], [b1, b2]] or [[a1, a2]] with whole numbers of at "
            "least 1."
        )
    (a1, a2), (b1, b2) = (*kron_factors, factor_b(kron_factors[0], d_in, d_out))[:2]
    if (a1 * b1, a2 * b2) != (d_in, d_out):
        pairs = [[list(a), list(factor_b(a, d_in, d_out))] for a in nearest_shapes((a1, a2), d_in, d_out)[:3]]
        near = ", ".join(str(pair).replace(" ", "") for pair in pairs)
        erratum = ""
        if (a1, a2) == (b1, b2) == (32, 24):
            erratum = " Tables 17 and 18 of the paper print these shapes for STS-B by mistake. Use (24, 32) for B."
        raise KronaError(
            f"kron_factors ({a1}, {a2}) ⊗ ({b1}, {b2}) maps {a1 * b1} → {a2 * b2}, but the layer is "
            f"{d_in} → {d_out}.{erratum} Shapes that fit: {near or 'none with sides of at least 2'}."
            " On the command line, method.fit_factors=nearest replaces a shape by the nearest fitting shape."
        )
    return (a1, a2), (b1, b2)


def budget_shapes(width: int, narrow: int | None = None) -> list[Shape]:
    """Return the shapes of A for a layer width → width with which KronA has as many parameters as LoRA of rank 1.

    No side of A or B is below 2.

    Args:
        narrow: if given, return only shapes that also fit a layer width → narrow. The value projection in
            grouped-query attention is such a layer.
    """
    return [(a1, a2) for a1, a2 in fitting_shapes(width, narrow or width) if a1 * a2 == width]


def shape_name(shape: Sequence[int]) -> str:
    """Return a shape as text, such as ``32x24``."""
    return "x".join(str(side) for side in shape)
