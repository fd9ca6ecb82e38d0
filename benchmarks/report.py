"""A bench's result: one JSON, a table beside the paper's numbers, its conclusions, and a plot.

A bench's module has `COLUMNS` (key → heading of the table) and `PLOT` (the key that is drawn, and what it is). It may
have `SHOWN` and `PLOTTED` (names of the rows in the table and the plot), `DETAIL` (of a row's name in the plot) and
`conclusions` (a function that gives sentences).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.settings import Row
from krona.files import write_whole
from krona.report.charts.chart import RowChart, ScoreRow
from krona.report.charts.looks import SOFT, method_look
from krona.report.charts.picture import picture

UNDER_LOAD = "other processes ran on the machine during the measurement: these are no figures"
REFERENCES = ("floor", "backbone", "peft")


def write_json(
    folder: Path, name: str, rows: Sequence[Row], *, machine: Mapping[str, Any], backbones: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Path:  # fmt: skip
    """Write the result. ``backbones``: their names in conf/backbone, and what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"machine": dict(machine), "backbones": dict(backbones), "settings": dict(settings)}
    content = {"name": name, "rows": list(rows), **facts}
    file = folder / f"{name}.json"
    write_whole(file, lambda part: part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))
    return file


def show(kind: Any, rows: Sequence[Row], *, title: str, file: Path, console: Console, disturbed: bool) -> None:
    """Print the table and the conclusions of a bench, and draw the plot beside ``file``."""
    if disturbed:
        console.print(UNDER_LOAD, style="bold red")
    table = Table(title=title, title_justify="left")
    for position, heading in enumerate(kind.COLUMNS.values()):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    for row in _named(rows, getattr(kind, "SHOWN", None)):
        table.add_row(*(cell(key, row.get(key)) for key in kind.COLUMNS))
    console.print(table)
    for line in kind.conclusions(rows) if hasattr(kind, "conclusions") and not disturbed else ():
        console.print(line, highlight=False, markup=False)
    if disturbed:
        title += " · machine under load, no figures"
    chart = RowChart(title=title, label=kind.PLOT[1], rows=_plotted(kind, rows))
    file.with_suffix(".svg").write_text(picture(title, [chart]), encoding="utf-8")


def _named(rows: Sequence[Row], names: Sequence[str] | None) -> list[Row]:
    return [row for row in rows if names is None or row["name"] in names]


def _plotted(kind: Any, rows: Sequence[Row]) -> list[ScoreRow]:
    """The rows of the plot with their spreads: those of the first batch size that have the value."""
    key, found = kind.PLOT[0], list[ScoreRow]()
    for row in _named(rows, getattr(kind, "PLOTTED", None)):
        if row.get(key) is None or row.get("source") != rows[0].get("source"):
            continue
        value = row[key] / 2**30 if key == "peak_memory" else row[key]
        name, spread = row["name"], 0.0 if key == "peak_memory" else value * row["spread"]
        scored = ScoreRow(
            name=name,
            detail=getattr(kind, "DETAIL", "{shape}").format_map(row).replace("None", ""),
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


def cell(key: str, value: Any) -> str:
    """A value of a row as the table shows it."""
    if value is None:
        return "–"
    if key == "peak_memory":
        return f"{value / 2**20:,.0f}"
    if isinstance(value, float):
        if key.endswith("_s") and not key.endswith("_per_s"):
            return f"{1000 * value:,.1f} ms"
        return f"{100 * value:.1f} %" if key == "spread" else f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
