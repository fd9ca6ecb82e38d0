"""Define the commands of `krona` that use adapters: predict, evaluate, export."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from krona.formatting import show
from krona.messages import KronaError


class SeveralTexts(TyperCommand):
    """A command whose option ``--text`` accepts several texts, up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread: list[str] = []
        within = False
        for item in args:
            if item.startswith("--"):
                within = item == "--text"
                spread += [] if within else [item]
            else:
                spread += ["--text", item] if within else [item]
        return super().parse_args(ctx, spread)


app = typer.Typer()
OneRun = Annotated[
    str | None, typer.Argument(help="a run (its id, the beginning of its id, or its folder), or an adapter file")
]
Best = Annotated[str | None, typer.Option(metavar="SWEEP", help="use the run of this sweep with the best dev score")]
Backbone = Annotated[str | None, typer.Option(help="folder of the backbone, if it was moved after the run")]


@app.command(cls=SeveralTexts)
def predict(
    run: OneRun = None,
    best: Best = None,
    source: Annotated[
        str | None, typer.Option("--input", help="a .tsv, .csv, .jsonl or .parquet file; -: standard input")
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option("--text", help="one or more texts; a task with two text columns needs two texts for each row"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="a .tsv, .csv or .jsonl file; default: standard output")] = None,
    backbone: Backbone = None,
    batch_size: Annotated[int, typer.Option(min=1, help="rows per batch")] = 64,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the output file")] = False,
) -> None:
    """Predict the label of each row with a finished run. The output also contains the probability of each label."""
    from krona.runs.choose import choose_runs

    (chosen,) = choose_runs([run] if run else [], best)
    from krona.adapters.predict_command import predict as run_predict  # imports torch, which is slow

    invalid = run_predict(
        chosen, source=source, texts=texts or [], output=out, backbone=backbone,
        batch_size=batch_size, overwrite=overwrite, console=Console(),
    )  # fmt: skip
    if invalid and source is not None:
        raise KronaError(
            f"Most predictions of {invalid} are invalid, so the run did not learn its task. Train for more "
            "steps, or with another optimizer.lr."
        )


@app.command()
def evaluate(
    runs: Annotated[
        list[str] | None, typer.Argument(help="runs or adapter files, then overrides such as data.skip_bad_rows=true")
    ] = None,
    best: Best = None,
    split: Annotated[
        str, typer.Option(help="dev, test, train, or an official split of the data such as validation")
    ] = "test",
    source: Annotated[
        str | None, typer.Option("--input", help="a file of labelled rows, instead of the task's data")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write each row's prediction to this .jsonl file")] = None,
    backbone: Backbone = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="rows per batch; default: the run's trainer.eval_batch_size"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace files that exist")] = False,
) -> None:
    """Score finished runs on labelled rows."""
    from krona.adapters.evaluate import RowChoice, evaluate_runs
    from krona.runs.choose import choose_runs

    names = choose_runs([item for item in runs or [] if "=" not in item], best)
    overrides = [item for item in runs or [] if "=" in item]
    rows = RowChoice(split=split, source=source, overrides=overrides)
    evaluate_runs(
        names, rows, output=out, backbone=backbone, batch_size=batch_size, overwrite=overwrite, console=Console()
    )


@app.command()
def export(
    run: OneRun = None,
    best: Best = None,
    to: Annotated[str, typer.Option(help="merged: a model for transformers; peft: a folder for peft")] = "merged",
    out: Annotated[
        Path | None, typer.Option(help="the output folder; default: RUN-FORMAT, such as lora-rte-merged")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="dtype of a merged model: fp32, bf16 or fp16")] = None,
    backbone: Backbone = None,
) -> None:
    """Export a model with merged weights or a peft adapter, together with a model card."""
    from krona.adapters.export import export as command
    from krona.adapters.find import find
    from krona.runs.choose import choose_runs

    adapter = find(choose_runs([run] if run else [], best)[0])
    out = out or Path(f"{adapter.origin.run_id}-{to}")
    first, *others = command(adapter, to=to, out=out, dtype=dtype, backbone=backbone)
    show(f"{out}: {first}", *(f"  {line}" for line in others))
