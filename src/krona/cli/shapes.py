"""List the pairs of factor shapes that fit a layer, with parameters, rank and cost (`krona params --shapes`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from krona.formatting import say, table, terminal_width
from krona.messages import KronaError
from krona.methods.factor_shapes import factor_b, fitting_shapes, shape_name
from krona.paper import read_paper_table


@dataclass(frozen=True)
class ShapeRow:
    """One pair of factor shapes for a layer."""

    kron_factors: list[list[int]]  # the shapes of A and B, ``[[a1, a2], [b1, b2]]``
    parameters: int
    rank: int  # the highest rank of A ⊗ B
    multiply_adds: int  # multiply-adds for one token, in the cheaper order of the two products
    multiply_adds_percent: float  # multiply_adds in percent of the layer's own multiply-adds
    paper_mnli: float | None  # the MNLI score in Table 9 of the paper; None: the table does not have this pair


def parse_layer(text: str) -> tuple[int, int]:
    """Return the input and the output width of a layer, such as (768, 3072) for ``768x3072``. ``768`` is square."""
    widths = text.lower().split("x")
    if len(widths) > 2 or not all(width.isdecimal() for width in widths):
        raise KronaError(f"--shapes {text} is not the size of a layer. Write D_INxD_OUT, such as 768x3072.")
    return int(widths[0]), int(widths[-1])


def shape_table(d_in: int, d_out: int, *, budget: int | None = None) -> list[ShapeRow]:
    """Return all pairs of factor shapes for a layer d_in → d_out, with sides of at least 2.

    Pairs with as many parameters as LoRA of rank 1 (d_in + d_out) come first, then pairs with fewer parameters. Pairs
    with the same number of parameters are sorted by rank, from high to low.

    Args:
        budget: the largest number of parameters; None: no limit. LoRA of rank r has r · (d_in + d_out) parameters.

    Raises:
        KronaError: no pair fits.
    """
    mnli = read_paper_table("9")
    rows = []
    for a1, a2 in fitting_shapes(d_in, d_out):
        b1, b2 = factor_b((a1, a2), d_in, d_out)
        adds = min(a1 * b2 * (b1 + a2), a2 * b1 * (a1 + b2))
        is_papers = (d_in, d_out) == (768, 768) and (b1, b2) == (a2, a1)
        score = mnli.value(shape_name((a1, a2)), "mnli") if is_papers else None
        size, rank = a1 * a2 + b1 * b2, min(a1, a2) * min(b1, b2)
        rows.append(ShapeRow([[a1, a2], [b1, b2]], size, rank, adds, 100 * adds / (d_in * d_out), score))
    rows = [row for row in rows if budget is None or row.parameters <= budget]
    if not rows:
        limit = "" if budget is None else f" with at most {budget} parameters"
        raise KronaError(f"No factors with all sides of at least 2{limit} fit a layer {d_in} → {d_out}.")
    lora = d_in + d_out
    return sorted(rows, key=lambda row: (row.parameters != lora, row.parameters, -row.rank, row.kron_factors))


def print_shapes(rows: Sequence[ShapeRow], *, d_in: int, d_out: int, everything: bool) -> None:
    """Print the table of shapes.

    Unless ``everything`` is true, show only shapes with as many parameters as LoRA of rank 1, if there are any.
    """
    console = Console()
    equal = [row for row in rows if row.parameters == d_in + d_out]
    selected = rows if everything or not equal else equal
    cells = []
    for row in selected:
        a, b = (f"({p}, {q})" for p, q in row.kron_factors)
        adds = [f"{row.multiply_adds:,}", f"{row.multiply_adds_percent:.1f}"]
        mnli = "" if row.paper_mnli is None else f"{row.paper_mnli:.2f}"
        texts = [a, b, f"{row.parameters:,}", str(row.rank), *adds, mnli]
        cells.append([Text(text, style="bold" if row.paper_mnli else "") for text in texts])
    say(console, Text(f"Factor shapes of a layer {d_in} → {d_out}", style="bold"))
    headings = ("A", "B", "parameters", "rank", "adds", "% of layer", "MNLI")
    say(console, table(headings, cells, width=terminal_width(console)))
    say(
        console,
        f"\nLoRA of rank 1 has {d_in + d_out:,} parameters. adds: multiply-adds for one token. % of layer: adds in "
        "percent of the layer's own multiply-adds. MNLI: score in the paper's Table 9. Shapes with a side of 1 are "
        "omitted.",
    )
    if others := len(rows) - len(selected):
        say(
            console,
            f"{others} shapes have more or fewer parameters. --budget N lists shapes with at most N parameters.",
        )
