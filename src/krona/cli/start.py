"""The commands of `krona` that start something: train, bench, init (a project of one's own), doctor (a check-up)."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from krona import paths
from krona.messages import KronaError

app = typer.Typer()
AS_TYPED: dict[str, Any] = {  # Hydra reads the arguments, --help too
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True},
}


def completions(incomplete: str) -> list[str]:
    """The overrides that begin so, from Hydra."""
    from krona.config import hydra_internals
    from krona.config.compose import hydra_session

    with hydra_session():
        return hydra_internals.completions(incomplete)


Overrides = Annotated[list[str] | None, typer.Argument(autocompletion=completions)]


@app.command(**AS_TYPED)
def train(overrides: Overrides = None) -> None:
    """Run one job, or many with -m: method=krona task=rte. --help lists the choices."""
    from krona.cli.train import train as start

    sys.argv[1:] = overrides or []
    start()


@app.command(**AS_TYPED)
def bench(overrides: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Measure cost, as python bench.py does. Only in the repository: an installed krona has no benchmarks."""
    script = paths.PROJECT / "bench.py"
    if not script.is_file():
        raise KronaError(
            "The benchmarks are not part of the installed package. In a clone of krona's repository, run: "
            f"python bench.py {shlex.join(overrides or [])}"
        )
    own = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}  # benchmarks/ is beside it
    os.execve(sys.executable, [sys.executable, str(script), *(overrides or [])], own)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="output folder; files that are there stay")] = Path()) -> None:
    """Write a small project to edit: a task with its data, a method, a sweep, a README.md."""
    from krona.cli.init import init as write

    write(folder)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="remove what dead processes have left, nothing else")] = False,
) -> None:
    """Check the installed packages and the runs in outputs/; exit with 1 if something is broken."""
    from krona.cli import doctor as check_up

    sys.exit(check_up.doctor(paths.OUTPUTS, as_json=as_json, fix=fix, console=Console()))
