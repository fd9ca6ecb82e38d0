"""The tables of `krona params` and `krona shapes`, with the methods composed from conf/."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from krona.backbones.load import meta_model
from krona.cli import parameter_counts as count
from krona.config import check
from krona.config.choices import choices, unknown_choice
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import find_sweep, translate_errors
from krona.config.settings import Backbone, Method
from krona.messages import KronaError
from krona.paper import read_paper_table
from krona.screen import say, table, width_of

PAPERS = "t5_base"  # the backbone that the paper's numbers are for


def rows(backbone: str, overrides: Sequence[str] = ()) -> tuple[list[count.MethodRow], list[str]]:
    """The rows of all methods (or of ``method=a,b``) with overrides, and why other methods do not accept them.

    Raises:
        KronaError: no method is left, or there is no such backbone.
    """
    if option := next((item for item in overrides if item.startswith("-")), None):
        raise KronaError(f"{option} is no option; there are --backbone and --json; a method is method=krona")
    chosen = [o.split("=", 1)[1] for o in overrides if o.startswith("method=")]
    names = chosen[-1].split(",") if chosen else method_names()
    for group, chosen_names in (("backbone", [backbone]), ("method", names)):
        for name in chosen_names:
            if name not in choices(group):
                raise KronaError(unknown_choice(group, name))
    rest = [o for o in overrides if not o.startswith("method=")]
    if several := find_sweep(rest):
        raise KronaError(f"{several}: one value; only method= takes several. A command for each value")
    if not any(o.startswith(("task=", "recipe=")) for o in rest):
        rest.append("~recipe")  # the method's own row, not that of the default task
    rows: list[count.MethodRow] = []
    left_out: list[str] = []
    with hydra_session():
        model = None
        for name in names:
            try:
                method, settings = _composed(name, backbone, rest)
                if model is None:
                    model = meta_model(settings)
                row = count.method_row(model, method, counterparts=settings.factor_shapes)
                rows.append(row if backbone == PAPERS else replace(row, paper_percent=None))
            except KronaError as error:
                if "backbone." in str(error):  # the same for every method
                    raise
                left_out.append(f"{name}: {re.sub(r':? ?[(]?there are.*', '', str(error))}")
    if not rows:
        raise KronaError("\n".join(left_out))
    return rows, left_out


def method_names() -> list[str]:
    """Every method of conf/method: Table 1's rows first, in its order."""
    there = choices("method")
    table1 = list(read_paper_table("1").rows)
    return [name for name in table1 if name in there] + [name for name in there if name not in table1]


def print_rows(rows: Iterable[count.MethodRow], left_out: Sequence[str], *, backbone: str) -> None:
    """Print the table of methods; on the paper's own backbone with its percentages."""
    console, on_the_papers = Console(), backbone == PAPERS
    rows = list(rows)
    with_head = any(row.head_params for row in rows)
    cells = [
        (
            row.method,
            f"{row.trainable_params:,}",
            *([f"{row.head_params:,}"] if with_head else []),
            f"{row.trainable_percent:.4f}",
            f"{row.paper_percent:g}" if on_the_papers and row.paper_percent is not None else "",
            "" if row.update_rank is None else str(row.update_rank),
            _bytes(row.file_bytes),
            f"{row.multiply_adds / 1e6:.2f}",
            str(row.launches),
        )
        for row in rows
    ]
    head = ("head",) if with_head else ()
    headings = ("method", "trainable", *head, "%", "paper", "rank", "file", "M adds", "launches")
    say(console, Text(f"What trains, on {backbone}", style="bold"))
    say(console, table(headings, cells, width=width_of(console), left=("method",)))
    say(console, "")
    paper = f"paper: {count.PRINTING_RULE}; " if on_the_papers else ""
    about_head = "head: of two classes, new on each task, trains with every method; " if with_head else ""
    say(
        console,
        f"%: of the backbone before insertion; {about_head}{paper}rank: the highest that the update of one layer can "
        "have; file: the adapter's; M adds: million multiply-adds of the branches' products, one token at every "
        "place; launches: kernels that one forward gains; both of unmerged branches.",
    )
    for line in left_out:
        say(console, Text(f"left out: {line}", style="dim"))


def _composed(name: str, backbone: str, overrides: Sequence[str]) -> tuple[Method, Backbone]:
    typed = [f"++{o}" if _is_value(o) else o for o in overrides]  # ++: a setting that the YAML leaves at its default
    chosen = [f"method={name}", f"backbone={backbone}", *typed]
    with translate_errors(chosen):
        config = compose_job(chosen).config
    settings = check.settings(config, own=True)
    return settings.method, settings.backbone


def _is_value(override: str) -> bool:
    return "." in override.split("=", 1)[0] and not override.startswith(("+", "~"))


def _bytes(size: int) -> str:
    return f"{size / 1000:,.0f} kB" if size < 10**6 else f"{size / 10**6:,.1f} MB"
