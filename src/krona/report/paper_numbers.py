"""Show the paper's numbers and hyper-parameters: beside those of the runs, or in a table of their own."""

from collections.abc import Iterable, Mapping
from typing import Any

from krona.display_names import method_label, task_label, task_order
from krona.paper import ERRATA, RECIPE_REASONS, PaperTable, read_recipes
from krona.report.layouts import Layout
from krona.report.table import Cell, Column, Note, Report, Row, Table
from krona.runs.run_id import as_text, canonical, find_value

LABELS = {"avg": "Avg", "params": "Params (%)", "latency": "Inference latency (%)", "training_time": "Training time"}
RECIPE_TITLE = "Hyper-parameters beside the paper's (Tables 10 to 18)"
HEADING = "The printed numbers (T5-base, GLUE, single runs)"


def add_paper_numbers(rows: Iterable[Row], paper: PaperTable) -> None:
    """Add the paper's numbers to the cells of comparable runs. For parameters, the difference is not shown."""
    for row in rows:
        for key, cell in row.cells.items() if not row.settings else ():
            if all(run.comparable for run in cell.runs):
                cell.paper = paper.value(row.key, "training_time" if key == "time" else key)
                cell.comparable = key != "params"


def add_paper_table(report: Report, layout: Layout, paper: PaperTable) -> None:
    """Add the table with the paper's numbers, unless another table shows them beside the scores."""
    printed = _paper_table(layout, paper)
    comparable = [table for table in report.tables if table.comparable]
    for table in comparable:
        table.notes += printed.notes
    report.tables += [] if comparable else [printed]


def _paper_table(layout: Layout, paper: PaperTable) -> Table:
    keys = sorted(paper.columns, key=lambda key: (key != "params", task_order(key)))
    columns = [Column(key, LABELS.get(key, task_label(key)), "paper") for key in keys]
    table = Table(layout.name, layout.title, HEADING, layout.axis, columns, [])
    digits = 0 if layout.quantity == "cost" else 2
    for key, values in paper.rows.items():
        cells = {name: Cell(value, digits=digits) for name, value in values.items()}
        table.rows.append(Row(key, layout.label(key), cells=cells))
    notes = [
        f"The paper prints the average {paper.rows[row]['avg']:.2f} for {layout.label(row)}, but the printed scores "
        f"give {mean}."
        for (number, row), mean in ERRATA.items()
        if number == layout.name
    ]
    table.notes = [*map(Note, notes)]
    return table


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
