"""Count each method's parameters and costs on a backbone, and print the table of `krona params`.

Each method is inserted into a model on torch's meta device, where tensors have a shape but no values. The count
therefore needs neither weights nor data.
"""

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.text import Text
from torch import nn

from krona import surgery
from krona.backbones.insert_method import insert_method
from krona.backbones.load import meta_model
from krona.config import check
from krona.config.choices import choices, unknown_choice, without_families
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import find_sweep, normalize
from krona.config.settings import Method, RunSettings
from krona.formatting import Cell, say, table, terminal_width
from krona.messages import KronaError, shorten
from krona.paper import read_paper_table
from krona.surgery.operation_counts import added_costs
from krona.training.run_job import format_error

PAPERS = "t5_base"  # the backbone of the paper's numbers
OF_METHODS = re.compile(r"[+~]*(method|factors|variant|experiment)\b")  # overrides that some methods reject
PRINTING_RULE = "the paper's Table 1 truncates its Params column to two decimals (0.1260 → 0.12, 0.0726 → 0.07)"
LEGEND = (
    "rank: the highest possible rank of one layer's update; M adds: million "
    "multiply-adds that the unmerged branches add for one token; launches: kernels that the unmerged branches add to "
    "one forward pass."
)


@dataclass(frozen=True)
class MethodRow:
    """The counts of one method on one backbone."""

    method: str
    trainable_params: int
    trainable_percent: float  # in percent of the backbone's parameters
    printed_percent: float  # trainable_percent, truncated as in Table 1
    paper_percent: float | None  # the column Params of Table 1; None: the table does not have the method
    update_rank: int | None  # the highest possible rank of a layer's or block's update; None: the update is not linear
    head_params: int = 0  # parameters of a new two-class head, which every method trains
    # The costs of the unmerged branches. None: they cannot be counted without weights.
    multiply_adds: int | None = None  # multiply-adds for one token
    launches: int | None = None  # kernels for one forward pass


def _count_method(model: nn.Module, method: Method, factor_shapes: Mapping[str, Any]) -> MethodRow:
    """Return the counts of one method. ``model`` must be on the meta device, and is restored after the count."""
    insert_method(model, method, factor_shapes=factor_shapes)
    try:
        count = surgery.count(model)
        return MethodRow(
            method=method.name,
            trainable_params=count.trainable,
            trainable_percent=count.percent,
            printed_percent=math.floor(count.percent * 100 + 1e-9) / 100,  # truncated, not rounded
            paper_percent=read_paper_table("1").value(method.name, "params"),
            update_rank=surgery.update_rank(model),
            head_params=count.head,
            **added_costs(model),
        )
    finally:
        surgery.take_out(model)


def rows(backbone: str, overrides: Sequence[str] = ()) -> tuple[list[MethodRow], list[str]]:
    """Return a row for each method, and an error message for each method that rejects the overrides.

    The override ``method=a,b`` selects methods.

    Raises:
        KronaError: all methods reject the overrides, or the backbone does not exist.
    """
    if option := next((item for item in overrides if item.startswith("-")), None):
        raise KronaError(
            f"{option} is not an option of this command. Its options are --backbone and --json. Select a method with "
            "method=krona."
        )
    chosen = [item.partition("=")[2] for item in overrides if item.startswith("method=")]
    table1, known = [*read_paper_table("1").rows], choices("method")
    names = sorted(without_families(known), key=lambda name: table1.index(name) if name in table1 else len(table1))
    if chosen:
        names = [name for item in chosen[-1].split(",") for name in fnmatch.filter(known, item) or [item]]
    for group, name in [("backbone", backbone), *(("method", name) for name in names)]:
        if name not in choices(group):
            raise KronaError(unknown_choice(group, name))
    others = [item for item in overrides if not item.startswith("method=")]
    if several := find_sweep(others):
        raise KronaError(f"{several} has several values, which only method= accepts. Use one command for each value.")
    if not any(item.startswith(("task=", "recipe=")) for item in others):
        others.append("~recipe")  # use the values of the method's YAML, not those of the recipe for the default task
    rows: list[MethodRow] = []
    left_out: list[str] = []
    with hydra_session():
        general = [item for item in others if not OF_METHODS.match(item)]
        model = meta_model(_compose(["method=untuned", f"backbone={backbone}", *general]).backbone)
        for name in names:
            try:
                settings = _compose([f"method={name}", f"backbone={backbone}", *others])
                row = _count_method(model, settings.method, settings.backbone.factor_shapes)
                rows.append(row if backbone == PAPERS else replace(row, paper_percent=None))
            except Exception as error:  # a user's branch can raise any error
                left_out.append(f"{name}: {shorten(format_error(error), 120)}")
    if not rows:
        raise KronaError("\n".join(left_out))
    return rows, left_out


def print_rows(rows: Iterable[MethodRow], left_out: Sequence[str], *, backbone: str) -> None:
    """Print the table of methods. For the paper's backbone, the table includes the paper's percentages."""
    console, rows = Console(), list(rows)
    cells: list[list[Cell]] = [
        [
            row.method,
            f"{row.trainable_params:,}",
            _cell(row.head_params or None, ","),
            f"{row.trainable_percent:.4f}",
            _cell(row.paper_percent, "g"),
            _cell(row.update_rank, "d"),
            _cell(row.multiply_adds and row.multiply_adds / 1e6, ".2f"),
            _cell(row.launches, "d"),
        ]
        for row in rows
    ]
    headings = ("method", "trainable", "head", "%", "paper", "rank", "M adds", "launches")
    say(console, Text(f"Trainable parameters and costs on {backbone}", style="bold"))
    say(console, table(headings, cells, width=terminal_width(console), left=("method",)))  # empty columns are omitted
    about = ""
    if any(row.head_params for row in rows):
        about = "head: parameters of a new classifier with two classes, which every method trains; "
    if backbone == PAPERS:
        about += f"paper: {PRINTING_RULE}; "
    say(console, f"\n%: trainable parameters in percent of the backbone's parameters; {about}{LEGEND}")
    for line in left_out:
        say(console, Text(f"left out: {line}", style="dim"))


def _compose(overrides: Sequence[str]) -> RunSettings:
    return check.settings(compose_job(normalize(overrides)).config, own=True)


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
