"""Define the command line `krona`. Each command imports its modules only when the command is called."""

import re
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from krona import paths
from krona.cli import run_commands
from krona.formatting import error_lines, say, show, terminal_width
from krona.messages import KronaError, KronaWarning, escape_control_characters
from krona.report import FORMATS
from krona.safe_files import require_no_link


class Commands(TyperGroup):
    """The commands of `krona`. A wrong value of an option or argument raises `KronaError`."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if type(error) is not typer.BadParameter:  # a missing argument
                raise
            raise KronaError(f"{error.format_message().rstrip('.')}.") from error


app = typer.Typer(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Compare parameter-efficient tuning methods on GLUE. Start a run with: krona train method=krona task=rte",
)


def main() -> None:
    """Run the command line. For wrong input, print one message on stderr and exit with 1."""
    warnings.showwarning = partial(_show_warning, warnings.showwarning)
    try:
        app()
    except Exception as error:
        from krona.config.hydra_interface import WRONG_INPUT, explain

        if isinstance(error, OSError) and error.filename is not None:  # such as a missing permission or a full disk
            error = KronaError(f"{error.filename}: {error.strerror}")
        if not isinstance(error, WRONG_INPUT):
            raise
        print(error_lines(explain(error)), file=sys.stderr)
        sys.exit(1)


def _show_warning(usual: Any, message: Any, category: Any, *arguments: Any) -> None:
    if issubclass(category, KronaWarning):
        say(Console(stderr=True), f"note: {message}")
    else:
        usual(message, category, *arguments)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"krona {paths.VERSION}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


@app.command(context_settings={"ignore_unknown_options": True})
def table(
    number: Annotated[
        str, typer.Argument(help="table of results (1, 2, 4 to 9, lora_ga) or of hyper-parameters (10 to 18)")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="overrides as for train.py, such as profile=demo seed=0,1,2")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="list the runs and their expected time without starting them")
    ] = False,
    form: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "terminal",
) -> None:
    """Run the missing runs of a table of the paper. Then print the results next to the paper's numbers."""
    from krona.sweeps import plan as sweeps
    from krona.sweeps import status as runs_status

    number = number.removeprefix("table")
    wanted = sweeps.table_overrides(number, overrides or [])
    if dry_run:
        runs = sweeps.list_states(wanted, outputs=paths.OUTPUTS)
        _print_recipes([run.config for run in runs if run.config is not None])
        runs_status.show(runs, Console(), outputs=paths.OUTPUTS)
        return
    from krona.report.render import find_renderer  # imports pandas, which is slow

    find_renderer(form)  # raises an error before the runs start
    Console(stderr=True).print(f"Reading the state of the runs of table {number} …", highlight=False)
    code, run_ids = sweeps.run_sweep(wanted)
    if run_ids is not None:
        _print_report([paths.OUTPUTS], form, table=number, run_ids=run_ids)
    sys.exit(code)


def _print_recipes(configs: list[dict[str, Any]]) -> None:
    """Print the hyper-parameters of planned runs beside the paper's."""
    from krona.formatting import table as text_table
    from krona.report.layouts import RECIPE_TITLE, compare_recipes

    if lines := compare_recipes(configs):
        say(console := Console(), RECIPE_TITLE)
        rows = [[*line.values()] for line in lines]
        say(console, text_table([*lines[0]], rows, width=terminal_width(console), left=[*lines[0]]))
        say(console, "")


@app.command()
def report(
    name: Annotated[str | None, typer.Argument(help="name of a sweep; default: all runs")] = None,
    number: Annotated[
        str | None, typer.Option("--table", help="table of the paper (1, 2, 4 to 18), or lora_ga; the same as tableN")
    ] = None,
    sweep: Annotated[str | None, typer.Option(help="the same as the argument NAME")] = None,
    form: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "terminal",
    html: Annotated[bool, typer.Option("--html", help="write a web page, as with --format html")] = False,
    out: Annotated[Path | None, typer.Option(help="output file; default for html: outputs/report.html")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="include only these runs, such as method=krona,lora, task=rte, optimizer.lr=1e-3"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="reference: a method (default: lora), or the whole name of a row, to which all rows are compared"
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="compare this metric, such as accuracy, instead of the tasks' scores")
    ] = None,
    outputs: Annotated[
        list[Path] | None,
        typer.Option(help="folder with runs, or a file of krona pack (repeatable); default: outputs/"),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="columns, such as score,params,time; also rank, step, memory, adapter, adds, launches"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the file of --out")] = False,
) -> None:
    """Print tables of mean scores with intervals, next to the paper's numbers. --format html writes a web page."""
    from krona.runs.folder import require_new

    if name is not None and sweep is not None and name != sweep:
        raise KronaError(f"{name} and --sweep {sweep} are two different sweeps. Give only one name.")
    sweep = name or sweep
    number = None if number is None else number.removeprefix("table")
    if number is None and (table_name := re.fullmatch("table([0-9]+)", sweep or "")):
        number, sweep = table_name[1], None
    if out is not None:
        require_new(out, overwrite=overwrite)
    form = "html" if html else form
    arguments: dict[str, Any] = {"table": number, "sweep": sweep, "filters": where or []}
    arguments |= {"baseline": baseline, "metric": metric, "columns": columns.split(",") if columns else ()}
    _print_report(outputs or [paths.OUTPUTS], form, out, **arguments)


def _print_report(folders: list[Path], form: str, out: Path | None = None, **arguments: Any) -> None:
    """Print a report, or write the report to a file and print the path. ``arguments`` are passed to `build_report`."""
    from krona.report.build import build_report

    target = out or (folders[0] / "report.html" if form == "html" else None)
    if target is not None and out is None:
        require_no_link(target)
    text = build_report(folders, format=form, out=target, **arguments)
    print(text if target is None else escape_control_characters(f"{target}\n"), end="")


@app.command()
def compare(
    sources: Annotated[
        list[str], typer.Argument(help="two or more runs (ids or folders), or files with predictions of any tool")
    ],
    metric: Annotated[str | None, typer.Option(help="a metric; default: the run's, or accuracy")] = None,
    margin: Annotated[float, typer.Option(help="margin of the equivalence test in points")] = 1.0,
    id: Annotated[str | None, typer.Option(help="column with the ids of the rows; default: id, idx, index")] = None,
    label: Annotated[str | None, typer.Option(help="column with the labels; default: label, target, gold")] = None,
    prediction: Annotated[
        str | None, typer.Option(help="column with the predictions; default: prediction, pred")
    ] = None,
    outputs: Annotated[Path | None, typer.Option(help="folder with runs; default: outputs/")] = None,
) -> None:
    """Compare the predictions of runs or files (TSV, CSV, JSONL, samples of lm-evaluation-harness) row by row."""
    from krona.report.compare import compare as compare_predictions
    from krona.report.compare import read_predictions, render

    columns = {"id": id, "label": label, "prediction": prediction}
    found = [read_predictions(source, outputs or paths.OUTPUTS, **columns, metric=metric) for source in sources]
    if len(found) < 2:
        raise KronaError(f"krona compare {sources[0]}: give at least two runs or files.")
    metrics = [metric] if metric and "value" not in found[0].rows else []
    comparison = compare_predictions(found, metrics=metrics, margin=margin)
    print(escape_control_characters(render(comparison, width=terminal_width(Console()))), end="")


@app.command("check-data", context_settings={"ignore_unknown_options": True})
def check_data(
    task: Annotated[str, typer.Argument(help="name of a YAML in conf/task, such as rte or your own task")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="overrides as for train.py, such as data=tsv data.path=FOLDER")
    ] = None,
) -> None:
    """Read a task's data as a run would, and count rows, labels, bad rows and duplicates. No model is loaded."""
    from krona.cli import check_data as command

    command.check_data(task, overrides or [], Console())


@app.command(context_settings={"ignore_unknown_options": True})
def tune(
    overrides: Annotated[list[str], typer.Argument(help="overrides as for train.py, such as method=krona task=rte")],
    trials: Annotated[
        int, typer.Option(min=1, help="number of trials of the whole study, including trials of earlier commands")
    ] = 10,
    space: Annotated[
        Path | None, typer.Option(help="a YAML with the keys to search; default: sweeps/tune/default.yaml")
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="name of the study, for recipe=tuned/NAME; default: method-task-backbone")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of the search; seed=… sets the first seed of the runs")] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="runs of each trial, whose mean dev score is the trial's score")
    ] = 1,
    refine: Annotated[
        int, typer.Option(min=0, help="run this number of the best trials with other seeds, which then decide")
    ] = 0,
) -> None:
    """Search for the learning rate, scaling and factor shape with the best dev score.

    Keys that the command sets are not searched.
    """
    from krona.sweeps.tune import tune_here

    tune_here(overrides, trials=trials, space=space, study=study, seed=seed, seeds=seeds, refine=refine)


@app.command()
def dashboard(
    push: Annotated[
        bool, typer.Option("--push", help="save the workspace and the report at W&B; default: write files")
    ] = False,
    project: Annotated[str, typer.Option(help="W&B project")] = "krona",
    entity: Annotated[str | None, typer.Option(help="W&B team or user; default: the owner of the API key")] = None,
    folder: Annotated[Path | None, typer.Option(help="output folder; default: outputs/dashboard")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the files in --folder")] = False,
) -> None:
    """Build a W&B workspace and a W&B report that show the logged runs."""
    from krona.trackers import dashboard as spec

    if push:
        show(*spec.push(project=project, entity=entity))
    else:
        target = folder or paths.OUTPUTS / "dashboard"
        if folder is None:
            require_no_link(target, *(target / name for name in spec.FILES))
        show(*spec.write(target, project=project, entity=entity, overwrite=overwrite or folder is None))


app.registered_commands += run_commands.app.registered_commands
