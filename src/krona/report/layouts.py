"""Define the rows and columns of each kind of table: a table of the paper, of a sweep, or of all runs.

Group the runs of a section into the rows of a table, and name the rows. Show the paper's numbers and hyper-parameters.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from krona.display_names import method_label, method_order, task_label
from krona.paper import RECIPE_REASONS, RECIPE_TABLES, TASKS, PaperTable, read_paper_table, read_recipes
from krona.paths import choice_files
from krona.report.runs import ReportRun, Runs, group_by, list_settings
from krona.report.table import Cell, Column, Row, Table
from krona.report.text import parse_size, setting_text
from krona.runs.description import asked_shape, used_shape
from krona.runs.result import Result
from krona.runs.run_id import as_text, canonical, find_value

EXTRAS = ("params", "rank", "time", "step", "memory", "adapter", "adds", "launches")
RECIPE_TITLE = "Hyper-parameters beside the paper's (Tables 10 to 18)"
HEADING = "The printed numbers (T5-base, GLUE, single runs)"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The rows and columns of a table."""

    name: str  # the number of a table of the paper, the name of a sweep, or "runs"
    title: str
    command: str  # the command that starts the runs of the table; empty: the user's own command, which is not known
    axis: str = "Method"  # heading of the first column
    # Conditions map keys of the config, ``name`` (the method) and ``shape`` (of A) to regular expressions.
    where: Mapping[str, str] = field(default_factory=dict)  # the conditions for all runs of the table
    row_key: str = "name"  # the key whose value is the key of a run's row
    conditions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # if not empty: those of each row
    labels: Mapping[str, str] = field(default_factory=dict)  # labels of rows that are not methods, by row key
    rows: tuple[str, ...] = ()  # keys of rows that are always shown, in this order
    tasks: tuple[str, ...] = ()  # tasks that are always shown; if empty, the tasks of the runs
    split: str = "test"
    also_shown_split: str | None = None  # another split, whose scores are shown but not compared
    quantity: str = "score"  # if "score", the cells show scores; otherwise, the cells show times
    average: bool = True  # add the mean over tasks
    extras: tuple[str, ...] = ()  # names of additional columns (`krona.report.costs.QUANTITIES`)
    by_shape: bool = False  # whether each row is a shape of A
    paper: PaperTable | None = None
    sweep: str | None = None  # the sweep whose runs are shown; None: all runs are shown
    baseline: str = "lora"  # the name of the reference row
    notes: tuple[str, ...] = ()

    def row(self, result: Result) -> str | None:
        """Return the key of a run's row, or None if the table has no row for the run."""
        values = {**result.config, "name": result.method, "shape": _factor_shape(result)}
        if not _meets(values, self.where):
            return None
        if self.conditions:
            return next((row for row, conditions in self.conditions.items() if _meets(values, conditions)), None)
        row: str | None = find_value(values, self.row_key)
        return row

    def label(self, row: str) -> str:
        """Return the label of the row with this key."""
        return self.labels.get(row) or method_label(row)

    def order(self, row: str) -> tuple[Any, ...]:
        """Return a sort key that puts the rows of the layout first, in the layout's order."""
        return (self.rows.index(row), row) if row in self.rows else (len(self.rows), *method_order(row))


def find_layout(table: str | None, sweep: str | None) -> Layout:
    """Return the layout for a ``table`` of the paper, for a ``sweep``, or for all runs if both are None."""
    if table in RECIPE_TABLES:  # a row of Table 1, with the hyper-parameters in this table
        whole, method = find_layout("1", None), RECIPE_TABLES[table]
        title = f"Table 1 with the hyper-parameters of Table {table}"
        return replace(whole, title=title, rows=(method,), sweep=f"table{table}", command=f"krona table {table}")
    if table is not None:
        paper = read_paper_table(table)  # raises an error for an unknown number
        tasks = tuple(column for column in paper.columns if column in TASKS)
        layout = {"rows": tuple(paper.rows), "tasks": tasks, **_read_layouts()[table]}
        sweep = f"table{table}" if table.isdecimal() else table
        return Layout(name=table, paper=paper, sweep=sweep, command=f"krona table {table}", **layout)
    if sweep is None:
        return Layout(name="runs", title="All runs", command="krona train", extras=EXTRAS)
    command = f"krona train -m sweeps={sweep}" if sweep in choice_files("sweeps") else ""
    return Layout(name=sweep, title=f"Sweep {sweep}", sweep=sweep, command=command, extras=EXTRAS)


def _meets(values: Mapping[str, Any], conditions: Mapping[str, str]) -> bool:
    texts = {key: "" if (value := find_value(values, key)) is None else as_text(canonical(value)) for key in conditions}
    return all(re.fullmatch(pattern, texts[key]) for key, pattern in conditions.items())


def _factor_shape(result: Result) -> str | None:
    """Return the shape of A as the paper prints it, such as ``32x24``.

    If the backbone's config replaces the paper's shape by another shape, return the paper's shape.
    """
    factors = result.config["method"].get("kron_factors")
    if not factors:
        return None
    shape, counterparts = as_text(factors), result.config["backbone"].get("factor_shapes") or {}
    return next((name for name, pair in counterparts.items() if as_text([list(pair)]) == shape), shape)


@cache
def _read_layouts() -> dict[str, Any]:
    text = Path(__file__).with_name("templates").joinpath("tables.yaml").read_text(encoding="utf-8")
    layouts: dict[str, Any] = yaml.safe_load(text)
    return layouts


def group_rows(layout: Layout, runs: Runs) -> list[Row]:
    """Group a section's runs into rows. Return the rows, without cells, in table order.

    The variants of a method are groups of runs that differ in a setting other than the seed. Each variant has its own
    row. Variants on different tasks share a row if the settings that distinguish them are equal.
    """
    by_settings: dict[tuple[str, tuple[tuple[str, str], ...]], Row] = {}
    for (key, task), group in sorted(group_by(runs, lambda run: (str(layout.row(run.result)), run.task)).items()):
        variants = _split_variants(group)
        firsts = [next((run for run in runs if run.done), runs[0]) for runs in variants]
        settings_of_variants = list_settings(firsts)
        for variant, first, settings in zip(variants, firsts, settings_of_variants, strict=True):
            row = by_settings.setdefault((key, tuple(settings.items())), Row(key, settings=settings))
            row.runs[task], row.first[task] = variant, first
    with_runs = {row.key for row in by_settings.values()}
    rows = [*by_settings.values(), *(Row(key) for key in layout.rows if key not in with_runs)]
    for row in rows:
        name_row(layout, row)
    sizes = {row: [(key, parse_size(value), value) for key, value in row.settings.items()] for row in rows}
    rows.sort(key=lambda row: (layout.order(row.key), sizes[row]))
    return rows


def _split_variants(runs: Runs) -> list[list[ReportRun]]:
    """Return the runs of each variant. If any variant has finished runs, omit the variants without finished runs.

    A run that ended before it recorded its data fingerprints is added to a variant whose other settings are equal.
    """
    by_variant = group_by(runs, lambda run: run.variant)
    if all(run.done for run in runs):
        return [*by_variant.values()]
    items = {variant: {*group[0].settings.items()} for variant, group in by_variant.items()}
    for variant in [*by_variant]:
        complete = next((other for other in by_variant if other != variant and items[variant] < items[other]), None)
        if complete is not None:
            by_variant[complete] += by_variant.pop(variant)
    return [group for group in by_variant.values() if any(run.done for run in group)] or [*by_variant.values()]


def name_row(layout: Layout, row: Row) -> None:
    """Set a row's label and the text of its differing settings. The text names the shape of A that the layers use."""
    first = next(iter(row.first.values()), None)
    used, asked = (used_shape(first.result), asked_shape(first.result)) if first else (None, None)
    row.label = layout.label(row.key)
    texts = {key: setting_text(key, value) for key, value in row.settings.items()}
    if (key := "method.kron_factors") in texts:
        texts[key] = f"{used} (the paper's {asked})" if asked else used or row.settings[key]
    words = [f"{key.removeprefix('method.')}={value}" for key, value in texts.items()]
    if layout.by_shape and asked:  # in a table of shapes, the label is the shape that was used
        row.label, words = used or row.label, [f"the paper's {row.key}", *words]
    row.differs = ", ".join(words)


def add_paper_numbers(rows: Iterable[Row], paper: PaperTable) -> None:
    """Add the paper's numbers to the cells of comparable runs. For parameters, the difference is not shown."""
    for row in rows:
        for key, cell in row.cells.items() if not row.settings else ():
            if all(run.comparable for run in cell.runs):
                cell.paper = paper.value(row.key, "training_time" if key == "time" else key)
                cell.comparable = key != "params"


def paper_table(layout: Layout, paper: PaperTable) -> Table:
    """Return a table with the paper's numbers."""
    columns = [Column(key, task_label(key).replace("_", " "), "paper") for key in paper.columns]
    digits = 0 if layout.quantity == "cost" else 2
    rows = [
        Row(row, layout.label(row), cells={key: Cell(value, digits=digits) for key, value in values.items()})
        for row, values in paper.rows.items()
    ]
    return Table(layout.name, layout.title, HEADING, layout.axis, columns, rows)


def compare_recipes(configs: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the hyper-parameters of runs beside the paper's, one line for equal values.

    A line has the keys Method, Tasks, Setting, and Paper, which contains the values that differ, or "the same". Runs of
    methods and tasks that the paper does not have are left out.
    """
    tasks: dict[tuple[str, str, str], dict[str, None]] = {}
    for config in configs:
        method, task = str(config["method"]["name"]), str(config["task"]["name"])
        recipe = read_recipes().get((method, task.removeprefix("sample_")))
        if recipe is None:
            continue
        settings = {key: as_text(canonical(find_value(config, key))) for key in recipe}
        differing = {key: value for key, value in recipe.items() if settings[key] != value}
        for key in differing:
            if reason := RECIPE_REASONS.get((method, key)):
                differing[key] += f" ({reason})"
        line = method_label(method), _format_settings(settings), _format_settings(differing) or "the same"
        tasks.setdefault(line, {})[task_label(task)] = None
    return [
        {"Method": method, "Tasks": ", ".join(names), "Setting": setting, "Paper": paper}
        for (method, setting, paper), names in tasks.items()
    ]


def _format_settings(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in values.items())
