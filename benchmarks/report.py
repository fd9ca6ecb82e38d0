"""Write the results of a benchmark as JSON, print them as a table, and draw a plot.

The module of a benchmark must define these names:

- `COLUMNS` is a dict from the key of each column to its heading in the table.
- `PLOT` is a pair of the key to plot and the label of its axis.

The module can define these names:

- `SHOWN` and `PLOTTED` are the names of the rows in the table and in the plot. By default, these are all rows.
- `DETAIL` is the format of the text next to the name of a row in the plot.
- `conclusions` is a function that returns sentences to print below the table.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.settings import Row
from krona.report.charts.chart import RowChart, ScoreRow
from krona.report.charts.looks import SOFT, method_look
from krona.report.charts.picture import picture
from krona.safe_files import write_whole

UNDER_LOAD = "Other processes ran during the measurement. Do not use these results."
REFERENCES = ("floor", "backbone", "peft")


def write_json(folder: Path, name: str, rows: Sequence[Row], facts: Mapping[str, Any]) -> Path:
    """Write the rows and the facts about the machine, the backbones and the settings. Return the path of the file."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"name": name, "rows": list(rows), **facts}
    file = folder / f"{name}.json"
    write_whole(file, lambda part: part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))
    return file


def show(module: Any, rows: Sequence[Row], *, title: str, file: Path, console: Console, disturbed: bool) -> None:
    """Print the table and the conclusions of a benchmark, and write the plot to the folder of ``file``."""
    if disturbed:
        console.print(UNDER_LOAD, style="bold red")
    table = Table(title=title, title_justify="left")
    for position, heading in enumerate(module.COLUMNS.values()):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    for row in _select(rows, getattr(module, "SHOWN", None)):
        table.add_row(*(format_cell(key, row.get(key)) for key in module.COLUMNS))
    console.print(table)
    for line in module.conclusions(rows) if hasattr(module, "conclusions") and not disturbed else ():
        console.print(line, highlight=False, markup=False)
    if disturbed:
        title += " · machine under load, do not use"
    chart = RowChart(title=title, label=module.PLOT[1], rows=_plot_rows(module, rows))
    file.with_suffix(".svg").write_text(picture(title, [chart]), encoding="utf-8")


def _select(rows: Sequence[Row], names: Sequence[str] | None) -> list[Row]:
    return [row for row in rows if names is None or row["name"] in names]


def _plot_rows(module: Any, rows: Sequence[Row]) -> list[ScoreRow]:
    """Return the rows of the plot with their spreads. Rows without the plotted value are left out.

    If there are several source lengths, only the rows with the first length are included.
    """
    key, found = module.PLOT[0], list[ScoreRow]()
    for row in _select(rows, getattr(module, "PLOTTED", None)):
        if row.get(key) is None or row.get("source") != rows[0].get("source"):
            continue
        value = row[key] / 2**30 if key == "peak_memory" else row[key]
        name, spread = row["name"], 0.0 if key == "peak_memory" else value * row["spread"]
        scored = ScoreRow(
            name=name,
            detail=getattr(module, "DETAIL", "{shape}").format_map(row).replace("None", ""),
            look=SOFT if name.startswith(REFERENCES) else method_look(name.split("/")[0].split(" ")[0]),
            value=value,
            seeds=(value - spread, value + spread),
            test=None,
            paper=row.get("paper"),
            shown=f"{value:.3f}",
            bold=False,
        )
        found.append(scored)
    return found


def format_cell(key: str, value: Any) -> str:
    """Format a value of a row for the table."""
    if value is None:
        return "–"
    if key == "peak_memory":
        return f"{value / 2**20:,.0f}"
    if isinstance(value, float):
        if key.endswith("_s") and not key.endswith("_per_s"):
            return f"{1000 * value:,.1f} ms"
        return f"{100 * value:.1f} %" if key == "spread" else f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
