"""The command `krona`: everything beside a run itself. Each command is a thin door to the module that does the work."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from krona.messages import KronaError
from krona.report.formats import FORMATS
from krona.screen import as_typed

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Compare parameter-efficient tuning methods on GLUE with T5. A run: python train.py method=krona task=rte",
)


def main() -> None:
    """The entry point: a mistake is one message on stderr and exit code 1."""
    try:
        app()
    except Exception as error:
        message = str(error) if isinstance(error, KronaError) else _composition_error(error)
        if message is None:
            raise
        print(as_typed(f"error: {message}"), file=sys.stderr)
        sys.exit(1)


def _composition_error(error: Exception) -> str | None:
    """What Hydra does not like in what was typed; None where the error is not Hydra's."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    from krona.config.overrides import explain

    return explain(error, sys.argv[1:])


@app.command()
def sample(folder: Annotated[Path, typer.Argument(help="where the eight tasks go, in GLUE's own layout")]) -> None:
    """Write the sample tasks as files: eight tasks with GLUE's columns and labels, sentences of a generator."""
    from krona.tasks.sample.files import write

    for path in write(folder):
        print(path)


@app.command()
def pretrain(
    out: Annotated[Path, typer.Argument(help="where the backbone goes: a folder for backbone=local backbone.path=…")],
    data_path: Annotated[Path | None, typer.Option(help="a text file of yours; left out: generated text")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="optimiser steps")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="stop after so long; the same command goes on")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Make a small T5 from nothing, as the nano backbone was made. Interrupted, the same command goes on."""
    from dataclasses import replace

    from krona.backbones.pretraining.pretrain import Schedule
    from krona.backbones.pretraining.pretrain import pretrain as make

    schedule = replace(Schedule(), seed=seed)
    if steps is not None:
        schedule = replace(schedule, steps=steps)
    if minutes is not None:
        schedule = replace(schedule, minutes=minutes)
    print(make(out, data_path=data_path, schedule=schedule))


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="a sweep by name; left out: every run in outputs/")] = None,
    sweep: Annotated[str | None, typer.Option(help="the same as an option")] = None,
    where: Annotated[list[str] | None, typer.Option("--where", help="method=krona, task=rte, state=failed …")] = None,
    follow: Annotated[bool, typer.Option("--watch", help="follow until nothing goes on")] = False,
) -> None:
    """What is done, running with its progress, waiting or failed, and the time left."""
    from rich.console import Console

    from krona.paths import OUTPUTS
    from krona.sweeps import status as runs_status

    if name is not None and sweep is not None and name != sweep:
        raise KronaError(f"{name} and --sweep {sweep}: one sweep at a time")
    runs = runs_status.chosen(name or sweep, where or [], OUTPUTS)
    console = Console()
    if follow:
        runs_status.watch(runs, lambda current: runs_status.again(current, OUTPUTS), console)
    else:
        runs_status.show(runs, console, outputs=OUTPUTS)


@app.command(context_settings={"ignore_unknown_options": True})
def table(
    number: Annotated[int, typer.Argument(help="a table of the paper: 1, 2, 4 to 9")],
    overrides: Annotated[list[str] | None, typer.Argument(help="as for train.py: profile=demo seed=0,1,2")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only list the runs and what they will take")] = False,
    form: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "terminal",
    plan: Annotated[bool, typer.Option("--plan", help="with --dry-run: hours, memory, disk and money")] = False,
    card: Annotated[str | None, typer.Option(help="with --plan: of conf/cards.yaml; left out: this machine")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="dollars an hour; left out: the card's")] = None,
    efficiency: Annotated[float | None, typer.Option(help="assume this part of the card's data sheet")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="with --plan: every run of it")] = False,
    workers: Annotated[int, typer.Option(min=1, help="processes on this machine that share the runs")] = 1,
) -> None:
    """Run a table of the paper, as far as it is not done, and print it: our numbers beside the printed ones."""
    from rich.console import Console

    from krona.paths import OUTPUTS
    from krona.sweeps import plan as sweeps
    from krona.sweeps import status as runs_status
    from krona.sweeps.workers import run_sweep

    wanted = sweeps.of_table(number, overrides or [])
    if plan and not dry_run:
        raise KronaError("--plan: with --dry-run, which starts nothing")
    if not plan and (as_json or (card, price, efficiency) != (None, None, None)):
        raise KronaError("--json, --card, --price and --efficiency: with --dry-run --plan, which they are for")
    if plan:
        from krona.sweeps.planning import command

        planned = command.plan_sweep(wanted, outputs=OUTPUTS, card=card, price=price, efficiency=efficiency)
        command.show(planned, as_json=as_json)
        return
    if dry_run:
        runs_status.show(sweeps.plan(wanted, outputs=OUTPUTS), Console(), outputs=OUTPUTS)
        return
    code = run_sweep(wanted, workers=workers, outputs=OUTPUTS, console=Console())
    report(number=str(number), sweep=None, form=form, out=None, where=None, outputs=None)
    sys.exit(code)


@app.command()
def report(
    number: Annotated[str | None, typer.Option("--table", help="a table of the paper: 1, 2, 4 to 9")] = None,
    sweep: Annotated[str | None, typer.Option(help="a sweep by name; neither: all runs")] = None,
    form: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "terminal",
    out: Annotated[Path | None, typer.Option(help="a file; html without it: outputs/report.html")] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", help="method=krona,lora, task=rte, optimizer.lr=1e-3")
    ] = None,
    outputs: Annotated[list[Path] | None, typer.Option(help="folders with runs; left out: outputs/")] = None,
) -> None:
    """Tables of what has run: means with intervals, beside the paper's numbers; all of it in one HTML page."""
    from krona.paths import OUTPUTS
    from krona.report.build import build_report

    folders = outputs or [OUTPUTS]
    target = out or (folders[0] / "report.html" if form == "html" else None)
    text = build_report(folders, table=number, sweep=sweep, format=form, out=target, filters=where or [])
    print(text if target is None else target, end="" if target is None else "\n")


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="a run: its id, the beginning of it, or its folder; or a method")],
    b: Annotated[str, typer.Argument(help="the other one")],
    examples: Annotated[int, typer.Option(min=0, help="how many of the examples with another answer to show")] = 5,
    outputs: Annotated[Path | None, typer.Option(help="where the runs are; left out: outputs/")] = None,
) -> None:
    """Two runs side by side: settings, scores, a paired test, the examples that changed. Or two methods, by task."""
    from rich.console import Console

    from krona.paths import OUTPUTS
    from krona.report.diff import text as diff_text
    from krona.report.diff.compare import compare
    from krona.screen import width_of

    found = compare(outputs or OUTPUTS, a, b)
    print(diff_text.render(found, width=width_of(Console()), examples=examples), end="")


@app.command(context_settings={"ignore_unknown_options": True})
def params(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="as for train.py: method=krona,lora method.bias=2")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="a file of conf/backbone: t5_base, t5_large, flan_t5_base …")
    ] = "t5_base",
    as_json: Annotated[bool, typer.Option("--json", help="print a list of rows")] = False,
) -> None:
    """What each method trains and costs, on any backbone, without its weights."""
    from krona.params import count, tables

    rows, left_out = tables.rows(backbone, overrides or [])
    if as_json:
        print(count.as_json(rows))
    else:
        tables.print_rows(rows, left_out, backbone=backbone)


@app.command()
def shapes(
    d_in: Annotated[int, typer.Argument(min=4, help="the layer's input width")],
    d_out: Annotated[int, typer.Argument(min=4, help="the layer's output width")],
    budget: Annotated[int | None, typer.Option(min=1, help="leave out shapes with more parameters")] = None,
    everything: Annotated[bool, typer.Option("--all", help="those of other sizes than LoRA rank 1's too")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print a list of rows")] = False,
) -> None:
    """Factor shapes of a layer with parameters, rank and cost, the paper's in bold: to choose factors= by."""
    from krona.params import count, tables
    from krona.params.shapes import shape_table

    rows = shape_table(d_in, d_out, budget=budget)
    if as_json:
        print(count.as_json(rows))
    else:
        tables.print_shapes(rows, d_in=d_in, d_out=d_out, everything=everything or budget is not None)


@app.command(context_settings={"ignore_unknown_options": True})
def tune(
    overrides: Annotated[list[str], typer.Argument(help="as for train.py: method=krona task=rte")],
    trials: Annotated[int, typer.Option(min=1, help="of the whole study; one that was stopped goes on")] = 10,
    space: Annotated[Path | None, typer.Option(help="a YAML; left out: sweeps/tune/default.yaml")] = None,
    study: Annotated[str | None, typer.Option(help="NAME in recipe=tuned/NAME; or method-task-backbone")] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes on this machine that share the study")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="of the search; a run's own seed is seed=…")] = 0,
) -> None:
    """Search learning rate, scaling and factor shape on dev with Optuna; lagging trials are pruned at an epoch."""
    from krona.tuning.command import tune_here

    tune_here(overrides, trials=trials, space=space, study=study, workers=workers, seed=seed)


@app.command()
def dashboard(
    push: Annotated[bool, typer.Option("--push", help="save it at W&B; without it the spec goes to files")] = False,
    project: Annotated[str, typer.Option(help="the project of W&B")] = "krona",
    entity: Annotated[str | None, typer.Option(help="team or user; left out: the key's own")] = None,
    folder: Annotated[Path | None, typer.Option(help="where the spec goes; left out: outputs/dashboard")] = None,
) -> None:
    """Build the W&B workspace and report, and check that runs log what they show."""
    from krona.paths import OUTPUTS
    from krona.trackers.dashboard import spec

    if push:
        print(*spec.push(outputs=OUTPUTS, project=project, entity=entity), sep="\n")
    else:
        print(*spec.write(folder or OUTPUTS / "dashboard", outputs=OUTPUTS, project=project, entity=entity), sep="\n")


if __name__ == "__main__":
    main()
