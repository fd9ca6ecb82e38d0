"""The commands of `krona` that start: a run (train), a benchmark (bench), a project of one's own (init)."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer()
AS_TYPED: dict[str, Any] = {  # Hydra reads the arguments, --help too
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True},
}


def completions(incomplete: str) -> list[str]:
    """The overrides that begin so, from Hydra."""
    from hydra._internal.core_plugins.bash_completion import BashCompletion
    from hydra.core.global_hydra import GlobalHydra

    from krona.config.compose import hydra_session

    with hydra_session():
        found = BashCompletion(GlobalHydra.instance().config_loader())._query("config", incomplete)
    return [str(line) for line in found]


Overrides = Annotated[list[str] | None, typer.Argument(autocompletion=completions)]


@app.command(**AS_TYPED)
def train(overrides: Overrides = None) -> None:
    """Run one job, or many with -m: method=krona task=rte. --help lists the choices."""
    from krona.cli.train import train as start

    sys.argv[1:] = overrides or []
    start()


@app.command(**AS_TYPED)
def bench(overrides: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Measure cost: bench=training, latency, kronecker, pipeline, memory, serving, sweep. --help lists the options."""
    from krona.cli.bench import start

    sys.argv[1:] = overrides or []
    start()


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="output folder; files that are there stay")] = Path()) -> None:
    """Write a small project to edit: a task with its data, a method, a sweep, a README.md."""
    from krona.cli.init import init as write

    write(folder)
