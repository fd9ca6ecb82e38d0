"""Define the commands of `krona` that start runs or manage their folders, and init, sample, docs and doctor."""

import os
import re
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from krona import paths
from krona.formatting import as_typed, below, show
from krona.messages import KronaError, amount, did_you_mean
from krona.safe_files import write_new

STARTER = Path(__file__).with_name("starter")
HYDRA_OPTIONS: dict[str, Any] = {  # Hydra parses all arguments, also --help
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True},
}
INCLUDED = re.compile(r'^--8<-- "docs/(.+)"$', re.MULTILINE)  # directives of the documentation's site
API = re.compile(r"^::: (\S+)\n(?: .*\n)*", re.MULTILINE)
app = typer.Typer()


def _complete(incomplete: str) -> list[str]:
    from krona.config import hydra_internals
    from krona.config.compose import hydra_session

    with hydra_session():
        return hydra_internals.completions(incomplete)


@app.command(**HYDRA_OPTIONS)
def train(
    overrides: Annotated[list[str] | None, typer.Argument(autocompletion=_complete)] = None,
) -> None:
    """Run one job, such as method=krona task=rte, or several jobs with -m. --help lists the choices."""
    from krona.cli.train import train as start

    sys.argv[1:] = overrides or []
    start()


@app.command(**HYDRA_OPTIONS)
def bench(overrides: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Run a benchmark, as python bench.py does. The installed package does not contain the benchmarks."""
    script = paths.PROJECT / "bench.py"
    if not script.is_file():
        raise KronaError(
            "The benchmarks are not part of the installed package. In a clone of krona's repository, run: "
            f"python bench.py {shlex.join(overrides or [])}"
        )
    own = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}  # to import benchmarks/
    os.execve(sys.executable, [sys.executable, str(script), *(overrides or [])], own)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="output folder; files are not replaced")] = Path()) -> None:
    """Write a small project that you can edit: a task with its data, a method, a sweep and a README.md."""
    files = [path.relative_to(STARTER) for path in sorted(STARTER.rglob("*")) if path.is_file()]
    write_new(folder, {file: partial(shutil.copyfile, STARTER / file) for file in files})
    show(*(folder / file for file in files))
    enter = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(below(folder))}; "
    print(as_typed(f"next: {enter}krona train profile=demo task=reviews method=my_krona"))


@app.command()
def sample(folder: Annotated[Path, typer.Argument(help="output folder, in the layout of GLUE's download")]) -> None:
    """Write the eight sample tasks as files: generated sentences with GLUE's columns and labels."""
    from krona.tasks.sample import write

    show(*write(folder))


@app.command("list")
def list_runs(
    where: Annotated[
        list[str] | None, typer.Option("--where", help="filter: method=krona, task=rte, state=failed …")
    ] = None,
) -> None:
    """List all runs in outputs/ with their state, scores and time."""
    from krona.sweeps import status

    runs = status.find_runs(None, where or [], paths.OUTPUTS)
    status.show(runs, Console(), outputs=paths.OUTPUTS, most=len(runs))


@app.command("show")
def show_stored(run: Annotated[str, typer.Argument(help="a run's id, the beginning of it, or its folder")]) -> None:
    """Show the state, the scores and the notes of one run, and the commands to continue with."""
    from krona.jobs.summary import show_run
    from krona.runs.folder import find_run

    show_run(find_run(paths.OUTPUTS, run), Console())


@app.command()
def rm(
    names: Annotated[list[str], typer.Argument(metavar="RUN…", help="run ids, their beginnings, or folders")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
) -> None:
    """Remove runs with all their files, after a confirmation."""
    from krona.runs.folder import find_run

    runs = list({run.path: run for run in (find_run(paths.OUTPUTS, name) for name in names)}.values())
    for run in runs:
        files = [file for file in run.path.rglob("*") if file.is_file()]
        show(f"{below(run.path)}: {amount(len(files), 'file')}, {sum(f.stat().st_size for f in files) / 1e6:,.1f} MB")
    if not yes and not typer.confirm(f"Remove {amount(len(runs), 'run')}?"):
        raise typer.Exit(1)
    for run in runs:
        run.remove()
    show(f"{amount(len(runs), 'run')} removed.")


@app.command()
def docs(page: Annotated[str | None, typer.Argument(help="name of a page; default: list all pages")] = None) -> None:
    """Print a page of the documentation. No network is needed."""
    pages = {path.relative_to(paths.DOCS).with_suffix("").as_posix(): path for path in paths.DOCS.rglob("*.md")}
    if page is None:
        for name, path in sorted(pages.items()):
            show(f"{name:<32}{path.read_text(encoding='utf-8').partition(chr(10))[0].lstrip('# ')}")
        return
    name = page.removeprefix("docs/").removesuffix(".md")
    if name not in pages:
        raise KronaError(f"{page} is not a page of the documentation; {did_you_mean(name, sorted(pages))}")
    text = pages[name].read_text(encoding="utf-8")
    text = INCLUDED.sub(lambda found: (paths.DOCS / found[1]).read_text(encoding="utf-8").rstrip("\n"), text)
    print(API.sub(r"`python -m pydoc \1`\n", text), end="")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="remove the files that dead processes left")] = False,
) -> None:
    """Check the installed packages and the runs in outputs/. Exit with 1 if something is broken."""
    from krona.cli import doctor as check_up

    sys.exit(check_up.doctor(paths.OUTPUTS, as_json=as_json, fix=fix, console=Console()))
