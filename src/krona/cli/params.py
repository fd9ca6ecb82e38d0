"""The commands of `krona` that count parameters and list shapes: params and shapes."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

app = typer.Typer()


@app.command(context_settings={"ignore_unknown_options": True})
def params(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="as in train.py: method=krona,lora method.bias=2")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="a file of conf/backbone: t5_base, t5_large, bert_base …; also as backbone=NAME")
    ] = "t5_base",
    as_json: Annotated[bool, typer.Option("--json", help="print a list of rows")] = False,
) -> None:
    """Trainable parameters and cost of each method on a backbone; needs no weights."""
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
    budget: Annotated[int | None, typer.Option(min=1, help="largest number of parameters")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="all shapes, not only those as small as LoRA of rank 1")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print a list of rows")] = False,
) -> None:
    """Factor shapes for a layer, with parameters, rank and cost; the paper's in bold."""
    from krona.cli.shapes import print_shapes, shape_table

    rows = shape_table(d_in, d_out, budget=budget)
    if as_json:
        _print_json(rows)
    else:
        print_shapes(rows, d_in=d_in, d_out=d_out, everything=everything or budget is not None)


def _print_json(rows: Iterable[Any]) -> None:
    print(json.dumps([row.__dict__ for row in rows], indent=1))
