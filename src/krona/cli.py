"""The command `krona`: everything beside a run itself. Each command is a thin door to the module that does the work."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from krona.errors import KronaError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Compare parameter-efficient tuning methods on GLUE with T5. A run: python train.py method=krona task=rte",
)


def main() -> None:
    """The entry point: a mistake is one message on stderr and exit code 1."""
    try:
        app()
    except KronaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


@app.command()
def sample(folder: Annotated[Path, typer.Argument(help="where the eight tasks go, in GLUE's own layout")]) -> None:
    """Write the sample tasks as files: eight tasks with GLUE's columns and labels, sentences of a generator."""
    from krona.sample.files import write

    for path in write(folder):
        print(path)


if __name__ == "__main__":
    main()
