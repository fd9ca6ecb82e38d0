"""Define the commands of `krona` that start or use runs, or do not need runs."""

import gc
import json
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from krona import paths
from krona.formatting import below, show
from krona.messages import KronaError, check_file_name, first_few, plural
from krona.safe_files import write_new

STARTER = Path(__file__).with_name("starter")
MAX_NAMES = 10  # maximum number of files in a list of names
HYDRA_OPTIONS: dict[str, Any] = {  # Hydra parses all arguments, including --help
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True},
}
app = typer.Typer()
OneRun = Annotated[
    str | None, typer.Argument(help="a run (its id, the beginning of its id, or its folder), or an adapter file")
]
Best = Annotated[str | None, typer.Option(metavar="SWEEP", help="use the run of this sweep with the best dev score")]
Backbone = Annotated[str | None, typer.Option(help="folder of the backbone, if it was moved after the run")]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help="show only these runs, such as method=krona, task=rte or state=failed"),
]


def _complete(incomplete: str) -> list[str]:
    from krona.config import hydra_interface
    from krona.config.compose import hydra_session

    with hydra_session():
        return hydra_interface.completions(incomplete)


@app.command(**HYDRA_OPTIONS)
def train(overrides: Annotated[list[str] | None, typer.Argument(autocompletion=_complete)] = None) -> None:
    """Run one job, such as method=krona task=rte, or several jobs with -m. --help lists the choices."""
    from krona.cli.train import train as start

    sys.argv[1:] = overrides or []
    start()


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER|NAME]", help="output folder, or with --from the name of the task")
    ] = Path(),
    source: Annotated[
        str | None,
        typer.Option("--from", help="make a task from this data file (.csv, .tsv, .jsonl, .parquet)"),
    ] = None,
    text: Annotated[list[str] | None, typer.Option(help="a text column of the file (repeatable)")] = None,
    label: Annotated[str | None, typer.Option(help="the label column of the file")] = None,
) -> None:  # fmt: skip
    """Write a small project that you can edit, or with --from a task for a data file. No file is replaced."""
    if source is not None:
        _init_task(str(folder), source, text or [], label)
        return
    if text or label:
        raise KronaError("--text and --label name columns of a data file. Add --from FILE.")
    if folder.is_file():
        raise KronaError(f"{folder} is a file. To make a task from it: krona init NAME --from {folder}")
    files = [path.relative_to(STARTER) for path in sorted(STARTER.rglob("*")) if path.is_file()]
    write_new(folder, {file: partial(shutil.copyfile, STARTER / file) for file in files})
    show(*(folder / file for file in files))
    enter = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(below(folder))}; "
    show(f"next: {enter}krona train profile=demo task=reviews method=my_krona")


def _init_task(name: str, source: str, texts: list[str], label: str | None) -> None:
    """Write conf/task/NAME.yaml for a data file, and print the next command."""
    from krona.tasks.draft import draft_task
    from krona.tasks.files import require_file

    data = paths.expand(source)
    if name == ".":
        raise KronaError(f"The task has no name. Write: krona init NAME --from {source}")
    check_file_name("task", name, forbidden="/\\ =,:'\"()[]{}$")  # it is part of printed commands
    if name in paths.choice_files("task"):
        raise KronaError(f"The task {name} exists already: {paths.choice_files('task')[name]}. Choose another name.")
    require_file(data)
    draft = draft_task(name, data, texts=texts, label=label)
    file = Path("conf") / "task" / f"{name}.yaml"
    write_new(Path(), {file: lambda file_: file_.write_text(draft.yaml, encoding="utf-8")})
    show(file, *(f"  {message}" for message in draft.messages))
    show(f"next: krona check-data {name}")


@app.command("list")
def list_runs(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="name of a sweep; default: all runs")] = None,
    where: Where = None,
) -> None:
    """List the runs with their state, progress, scores and time, and the remaining time of unfinished runs."""
    from krona.sweeps import status

    runs = status.find_runs(sweep, where or [], paths.OUTPUTS)
    status.show(runs, Console(), outputs=paths.OUTPUTS, most=len(runs))


@app.command("show")
def show_stored(
    run: Annotated[str | None, typer.Argument(help="a run's id, the beginning of its id, or its folder")] = None,
    best: Best = None,
    mistakes: Annotated[
        int, typer.Option(min=0, help="number of wrong predictions to print; in a regression, of the largest errors")
    ] = 0,
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", help="a column of the data file; print the score for each value (repeatable)"),
    ] = None,
) -> None:
    """Show the state, the scores of each class, the confusion matrix and the notes of one run."""
    from krona.cli.run_details import print_details
    from krona.runs.choose import choose_runs
    from krona.runs.description import show_run
    from krona.runs.folder import find_run

    (name,), console = choose_runs([run] if run else [], best), Console()
    folder = find_run(paths.OUTPUTS, name)
    show_run(folder, console)
    print_details(folder, console, mistakes=mistakes, slices=slices)


@app.command()
def pack(
    out: Annotated[Path, typer.Argument(metavar="FILE.tar.xz", help="the output file")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the file")] = False,
) -> None:
    """Pack all finished runs, without texts and weights, into a small file for krona report --outputs FILE."""
    from krona.runs.folder import RunFolder, require_new
    from krona.runs.pack import pack as write

    require_new(out, overwrite=overwrite)
    show(f"{out}: {plural(write(paths.OUTPUTS, out), 'run')}, {out.stat().st_size / 1e6:.1f} MB")
    folders = map(RunFolder, sorted(path.parent for path in paths.OUTPUTS.glob("*/result.json")))
    if others := [run.path.name for run in folders if not run.is_written_by_krona()]:
        show(f"left out, because krona did not write result.json: {', '.join(first_few(others, MAX_NAMES))}")


@app.command(context_settings={"ignore_unknown_options": True})
def params(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="overrides as for train.py, such as method=krona,lora method.bias=2")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="name of a YAML in conf/backbone, such as bert_base; the same as backbone=NAME")
    ] = "t5_base",
    as_json: Annotated[bool, typer.Option("--json", help="print the rows as JSON")] = False,
) -> None:
    """Count the trainable parameters and the cost of each method on a backbone. No weights are loaded."""
    gc.set_threshold(100_000)  # the default of 700 makes the imports of torch and transformers 0.6 s slower
    from krona.cli import parameter_table as tables

    typed = [item if "=" in item or item.startswith("-") else f"method={item}" for item in overrides or []]
    backbone = next((item.removeprefix("backbone=") for item in typed[::-1] if item.startswith("backbone=")), backbone)
    rows, left_out = tables.rows(backbone, [item for item in typed if not item.startswith("backbone=")])
    if as_json:
        print(json.dumps([row.__dict__ for row in rows], indent=1))
    else:
        tables.print_rows(rows, left_out, backbone=backbone)


@app.command()
def power(
    task: Annotated[
        list[str] | None, typer.Option(help="one or more tasks, such as rte,cola; default: GLUE's eight tasks")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="number of seeds of each method")] = 1,
    difference: Annotated[
        float | None,
        typer.Option(min=0.01, max=100, help="a difference in points; print how many seeds are needed to detect it"),
    ] = None,
    score: Annotated[
        float | None, typer.Option(help="with one --task: score of the methods; default: the median in Table 1")
    ] = None,
    examples: Annotated[
        int | None, typer.Option(min=1, help="with one --task: number of examples (or groups) of its test set")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compute the smallest difference that the reports' test detects (two-sided level 5 %, power 80 %)."""
    from krona.cli.power_table import compute_power, print_power

    tasks = [name for text in task or [] for name in text.split(",") if name]
    if (examples is not None or score is not None) and len(tasks) != 1:
        raise KronaError("--examples and --score describe one task. Give its name with --task.")
    rows = compute_power(tasks, examples=examples, score=score, seeds=seeds, difference=difference)
    if as_json:
        print(json.dumps({"tasks": rows}, indent=1))
    else:
        print_power(rows, Console(), difference=difference)


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
