"""The commands of `krona` for finished runs: predict and evaluate."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from krona import paths
from krona.screen import as_typed


class SeveralTexts(TyperCommand):
    """A command whose ``--text`` takes all texts up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread: list[str] = []
        within = False
        for item in args:
            if item == "--text" or item.startswith("--"):
                within = item == "--text"
                spread += [] if within else [item]
            else:
                spread += ["--text", item] if within else [item]
        return super().parse_args(ctx, spread)


def predict(
    runs: Annotated[list[str], typer.Argument(help="runs (id, the beginning of it, or folder), or adapter files")],
    source: Annotated[
        str | None, typer.Option("--input", help="a .tsv, .csv, .jsonl or .parquet file; -: standard input")
    ] = None,
    texts: Annotated[
        list[str] | None, typer.Option("--text", help="one or more texts; of a task with two columns, two for each row")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="a .tsv, .csv or .jsonl file; default: standard output")] = None,
    backbone: Annotated[str | None, typer.Option(help="the backbone's folder, if it has moved")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="rows at once")] = 64,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the output file, or begin it anew")] = False,
) -> None:
    """Let finished runs answer: each row's label, its word, and the probability of every label."""
    from krona.trained import predict as command

    try:
        command.predict(
            runs, source=source, texts=texts or [], output=output, backbone=backbone, batch_size=batch_size,
            overwrite=overwrite, outputs=paths.OUTPUTS, console=Console(),
        )  # fmt: skip
    except command.StoppedError as stop:
        print(as_typed(str(stop)), file=sys.stderr)
        sys.exit(130)


def evaluate(
    runs: Annotated[list[str], typer.Argument(help="runs or adapter files, then overrides: data.skip_bad_rows=true")],
    task: Annotated[str | None, typer.Option(help="a file of conf/task; default: the run's own")] = None,
    data: Annotated[
        str | None, typer.Option(help="GLUE's folder, or hub; default: where the run's rows are from")
    ] = None,
    split: Annotated[str, typer.Option(help="dev, test, train, or an official part: validation …")] = "test",
    source: Annotated[
        str | None, typer.Option("--input", help="a file with labels, instead of the task's data")
    ] = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="a label of the run as one of the task: neutral=non-entailment")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="a .jsonl file with each row's prediction")] = None,
    submission: Annotated[
        Path | None, typer.Option(help="a .zip with predictions on GLUE's own test sets in --data FOLDER")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="the backbone's folder, if it has moved")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="rows at once; default: the run's own")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace files that exist")] = False,
) -> None:
    """Score finished runs on any rows with labels, or answer GLUE's own test sets, without training."""
    from krona.trained import command

    command.evaluate(
        runs, task=task, data=data, split=split, source=source, mapping=mapping or [], output=output,
        submission_to=submission, backbone=backbone, batch_size=batch_size, overwrite=overwrite, outputs=paths.OUTPUTS,
        console=Console(),
    )  # fmt: skip


def add_to(app: typer.Typer) -> None:
    app.command(cls=SeveralTexts)(predict)
    app.command(context_settings={"ignore_unknown_options": True})(evaluate)
