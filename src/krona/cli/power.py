"""The command of `krona` that says what test sets can show: power."""

from typing import Annotated

import typer
from rich.console import Console

from krona.messages import KronaError

app = typer.Typer()


@app.command()
def power(
    task: Annotated[list[str] | None, typer.Option(help="rte, or several: rte,cola; default: GLUE's eight")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="number of seeds of each method")] = 1,
    difference: Annotated[
        float | None, typer.Option(min=0.01, max=100, help="points: how many seeds does it need?")
    ] = None,
    number: Annotated[str, typer.Option("--table", help="a table of the paper with scores: 1, 4, 5, 6, 9")] = "1",
    pair: Annotated[
        str | None, typer.Option(help="rows of that table: krona,lora; default: neighbours in each column")
    ] = None,
    unshared: Annotated[
        float | None, typer.Option(min=0.001, max=1, help="of two methods' errors, the share that one alone makes")
    ] = None,
    lasting: Annotated[
        float | None, typer.Option(min=0, max=1, help="of these errors, the share that every seed makes")
    ] = None,
    score: Annotated[
        float | None, typer.Option(help="with one --task: the methods' score; default: Table 1's median")
    ] = None,
    examples: Annotated[int | None, typer.Option(min=1, help="with one --task: of its test set")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """The smallest difference that a test set can show, the seeds that one needs, and the p of the paper's differences.

    The test is the paired one of reports: power 80 %, level 5 %, two-sided. Best case: all examples that one method
    alone gets right are the better one's, p = 2 · 0.5^examples. Realistic: exact McNemar with --unshared.
    """
    from krona.metrics.power import Assumed
    from krona.report import power as command

    try:
        known = {"unshared": unshared, "lasting": lasting}
        assumed = Assumed(**{name: value for name, value in known.items() if value is not None})
    except ValueError as error:
        raise KronaError(str(error)) from error
    chosen = command.chosen(task or [], examples=examples, score=score)
    counts = [seeds] if seeds > 1 else [1, 3, 5]
    rows = command.smallest(chosen, seeds=counts, difference=difference, assumed=assumed)
    pairs = command.printed(number, list(chosen), rows=pair.split(",") if pair else (), assumed=assumed)
    if as_json:
        print(command.as_json(rows, pairs, assumed, number=number, difference=difference))
    else:
        command.show(rows, pairs, assumed, number=number, difference=difference, console=Console())
