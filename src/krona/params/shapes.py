"""Pairs of factor shapes that fit a layer, with their parameters, rank and cost."""

from dataclasses import dataclass

from krona.messages import KronaError
from krona.methods.factor_shapes import fitting_shapes
from krona.paper import read_paper_table


@dataclass(frozen=True)
class ShapeRow:
    """One pair of factor shapes for a layer."""

    kron_factors: list[list[int]]
    parameters: int
    rank: int  # the highest of A ⊗ B
    multiply_adds: int  # a token, by the cheaper order of the two products
    multiply_adds_percent: float  # of the layer's own
    paper_mnli: float | None  # Table 9


def shape_table(d_in: int, d_out: int, *, budget: int | None = None) -> list[ShapeRow]:
    """All pairs of a layer d_in → d_out with both sides of A and B at least 2.

    Those with as many parameters as LoRA of rank 1 (d_in + d_out) come first; then by parameters, then by rank.
    ``budget`` leaves out the pairs with more parameters (LoRA of rank r has r · (d_in + d_out)).

    Raises:
        KronaError: no pair is left.
    """
    table9 = read_paper_table("9") if (d_in, d_out) == (768, 768) else None
    rows = []
    for a1, a2 in fitting_shapes(d_in, d_out, smallest=2):
        b1, b2 = d_in // a1, d_out // a2
        parameters = a1 * a2 + b1 * b2
        if budget is not None and parameters > budget:
            continue
        cost = min(a1 * b2 * (b1 + a2), a2 * b1 * (a1 + b2))
        tried = (b1, b2) == (a2, a1) and table9 is not None
        rows.append(
            ShapeRow(
                kron_factors=[[a1, a2], [b1, b2]],
                parameters=parameters,
                rank=min(a1, a2) * min(b1, b2),
                multiply_adds=cost,
                multiply_adds_percent=100 * cost / (d_in * d_out),
                paper_mnli=table9.value(f"{a1}x{a2}", "mnli") if tried and table9 is not None else None,
            )
        )
    if not rows:
        limit = "" if budget is None else f" with at most {budget} parameters"
        raise KronaError(f"no factors with every side ≥ 2{limit} fit a layer {d_in} → {d_out}")
    lora = d_in + d_out
    return sorted(rows, key=lambda row: (row.parameters != lora, row.parameters, -row.rank, row.kron_factors))
