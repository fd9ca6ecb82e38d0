"""List the pairs of factor shapes that fit a layer, with parameters, rank and cost (`krona shapes`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from krona.formatting import say, table, terminal_width
from krona.messages import KronaError
from krona.methods.factor_shapes import fitting_shapes, shape_name
from krona.paper import read_paper_table


@dataclass(frozen=True)
class ShapeRow:
    """One pair of factor shapes for a layer."""

    kron_factors: list[list[int]]  # the shapes of A and B, ``[[a1, a2], [b1, b2]]``
    parameters: int
    rank: int  # the highest rank of A ⊗ B
    multiply_adds: int  # for one token, in the cheaper order of the two products
    multiply_adds_percent: float  # of the layer's own multiply-adds
    paper_mnli: float | None  # the MNLI score in Table 9 of the paper; None: the table does not have this pair


def shape_table(d_in: int, d_out: int, *, budget: int | None = None) -> list[ShapeRow]:
    """Return all pairs of factor shapes for a layer d_in → d_out. Both sides of A and of B are at least 2.

    Pairs with as many parameters as LoRA of rank 1 (d_in + d_out) come first. The other pairs are sorted by the number
    of parameters. Pairs with the same number of parameters are sorted by rank, from high to low.

    Args:
        budget: the largest number of parameters; None: no limit. LoRA of rank r has r · (d_in + d_out).

    Raises:
        KronaError: no pair fits.
    """
    table9 = read_paper_table("9")
    rows = []
    for a1, a2 in fitting_shapes(d_in, d_out, smallest=2):
        b1, b2 = d_in // a1, d_out // a2
        parameters = a1 * a2 + b1 * b2
        if budget is not None and parameters > budget:
            continue
        cost = min(a1 * b2 * (b1 + a2), a2 * b1 * (a1 + b2))
        is_papers = (d_in, d_out) == (768, 768) and (b1, b2) == (a2, a1)
        rows.append(
            ShapeRow(
                kron_factors=[[a1, a2], [b1, b2]],
                parameters=parameters,
                rank=min(a1, a2) * min(b1, b2),
                multiply_adds=cost,
                multiply_adds_percent=100 * cost / (d_in * d_out),
                paper_mnli=table9.value(shape_name((a1, a2)), "mnli") if is_papers else None,
            )
        )
    if not rows:
        limit = "" if budget is None else f" with at most {budget} parameters"
        raise KronaError(f"No factors with all sides of at least 2{limit} fit a layer {d_in} → {d_out}.")
    lora = d_in + d_out
    return sorted(rows, key=lambda row: (row.parameters != lora, row.parameters, -row.rank, row.kron_factors))


def print_shapes(rows: Sequence[ShapeRow], *, d_in: int, d_out: int, everything: bool) -> None:
    """Print the table of shapes.

    Without ``everything``, print only shapes with as many parameters as LoRA of rank 1, if there are any.
    """
    console = Console()
    equal = [row for row in rows if row.parameters == d_in + d_out]
    selected = rows if everything or not equal else equal
    cells = [[Text(cell, style="bold" if row.paper_mnli else "") for cell in _shape_cells(row)] for row in selected]
    headings = ("A", "B", "parameters", "rank", "adds", "% of layer", "MNLI")
    say(console, Text(f"Factor shapes of a layer {d_in} → {d_out}", style="bold"))
    say(console, table(headings, cells, width=terminal_width(console)))
    papers = " MNLI: score in the paper's Table 9." if any(row.paper_mnli for row in selected) else ""
    say(
        console,
        f"\nLoRA of rank 1 has {d_in + d_out:,} parameters. Shapes with this number come first. adds: multiply-adds "
        f"for one token. % of layer: these multiply-adds in percent of the layer's own.{papers} Shapes with a side of "
        "1 are left out.",
    )
    if others := len(rows) - len(selected):
        say(
            console,
            f"{others} shapes have more or fewer parameters. Use --all, or --budget N for at most N parameters.",
        )


def _shape_cells(row: ShapeRow) -> list[str]:
    a, b = (f"({p}, {q})" for p, q in row.kron_factors)
    paper = "" if row.paper_mnli is None else f"{row.paper_mnli:.2f}"
    percent = f"{row.multiply_adds_percent:.1f}"
    return [a, b, f"{row.parameters:,}", str(row.rank), f"{row.multiply_adds:,}", percent, paper]
