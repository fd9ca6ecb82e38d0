"""Define the commands of `krona` that need no runs: params, shapes, power."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer()


@app.command(context_settings={"ignore_unknown_options": True})
def params(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="overrides as for train.py, such as method=krona,lora method.bias=2")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="name of a YAML in conf/backbone, such as bert_base; also as backbone=NAME")
    ] = "t5_base",
    as_json: Annotated[bool, typer.Option("--json", help="print the rows as JSON")] = False,
) -> None:
    """Count the trainable parameters and the cost of each method on a backbone. No weights are loaded."""
    from krona.cli import parameter_table as tables

    typed = overrides or []
    backbone = next((each.removeprefix("backbone=") for each in typed[::-1] if each.startswith("backbone=")), backbone)
    rows, left_out = tables.rows(backbone, [each for each in typed if not each.startswith("backbone=")])
    if as_json:
        _print_json(rows)
    else:
        tables.print_rows(rows, left_out, backbone=backbone)


@app.command()
def shapes(
    d_in: Annotated[int, typer.Argument(min=4, help="the layer's input width")],
    d_out: Annotated[int, typer.Argument(min=4, help="the layer's output width")],
    budget: Annotated[int | None, typer.Option(min=1, help="maximum number of parameters")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="list all shapes, not only those with as many parameters as LoRA of rank 1")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the rows as JSON")] = False,
) -> None:
    """List the factor shapes that fit a layer, with parameters, rank and cost. The paper's shapes are in bold."""
    from krona.cli.shapes import print_shapes, shape_table

    rows = shape_table(d_in, d_out, budget=budget)
    if as_json:
        _print_json(rows)
    else:
        print_shapes(rows, d_in=d_in, d_out=d_out, everything=everything or budget is not None)


@app.command()
def power(
    task: Annotated[
        list[str] | None, typer.Option(help="one or more tasks, such as rte,cola; default: GLUE's eight tasks")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="number of seeds of each method")] = 1,
    difference: Annotated[
        float | None,
        typer.Option(min=0.01, max=100, help="a difference in points; print the number of seeds that can show it"),
    ] = None,
    number: Annotated[str, typer.Option("--table", help="a table of the paper with scores: 1, 4, 5, 6, 9")] = "1",
    pair: Annotated[
        str | None, typer.Option(help="rows of that table: krona,lora; default: neighbours in each column")
    ] = None,
    unshared: Annotated[
        float | None, typer.Option(min=0.001, max=1, help="share of the errors that only one of two methods makes")
    ] = None,
    lasting: Annotated[
        float | None, typer.Option(min=0, max=1, help="share of these errors that every seed makes")
    ] = None,
    score: Annotated[
        float | None, typer.Option(help="with one --task: score of the methods; default: the median in Table 1")
    ] = None,
    examples: Annotated[
        int | None, typer.Option(min=1, help="with one --task: number of examples of its test set")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compute the smallest difference that a test set can show, and the p values of the paper's differences.

    The test is the two-sided paired test of the reports, with level 5 % and power 80 %. In the best case, only the
    better method solves examples that the other method does not solve: with n such examples, p = 2 · 0.5^n. In the
    realistic case, both methods solve such examples, and p is computed by the exact McNemar test (see --unshared).
    """
    from krona.cli import power_table as command
    from krona.metrics.power import Assumed

    known = {"unshared": unshared, "lasting": lasting}
    assumed = Assumed(**{name: value for name, value in known.items() if value is not None})
    test_sets = command.choose_test_sets(task or [], examples=examples, score=score)
    counts = [seeds] if seeds > 1 else [1, 3, 5]
    rows = command.find_smallest(test_sets, seeds=counts, difference=difference, assumed=assumed)
    pairs = command.paper_differences(number, list(test_sets), rows=pair.split(",") if pair else (), assumed=assumed)
    if as_json:
        print(command.as_json(rows, pairs, assumed, number=number, difference=difference))
    else:
        command.show(rows, pairs, assumed, number=number, difference=difference, console=Console())


def _print_json(rows: Iterable[Any]) -> None:
    print(json.dumps([row.__dict__ for row in rows], indent=1))
