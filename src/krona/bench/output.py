"""A bench's result: one JSON, a table beside the paper's numbers, a plot as PNG and SVG."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from krona.results import write_whole

Row = dict[str, Any]


def write_json(
    folder: Path, name: str, rows: Sequence[Row], *, machine: Mapping[str, Any], settings: Mapping[str, Any]
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"name": name, "rows": list(rows), "machine": dict(machine), "settings": dict(settings)}
    file = folder / f"{name}.json"
    write_whole(file, lambda part: part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))
    return file


def paper_column(table: Path, column: str) -> dict[str, float]:
    """Method → the number that the paper prints (full fine-tuning = 100); empty where the table is not there."""
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8", newline="") as file:
        return {row["method"]: float(row[column]) for row in csv.DictReader(file)}


def print_table(console: Console, title: str, rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    """``columns``: key → heading."""
    table = Table(title=title, title_justify="left")
    for position, heading in enumerate(columns.values()):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(key, row.get(key)) for key in columns))
    console.print(table)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        if key.endswith("_s"):
            return f"{1000 * value:,.1f} ms"
        return f"{100 * value:.1f} %" if key == "spread" else f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def draw_bars(folder: Path, name: str, rows: Sequence[Row], key: str, *, title: str, line: float = 1.0) -> None:
    """Bars of one ratio, a line at what it is measured against."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    shown = [row for row in rows if row.get(key) is not None]
    figure = Figure(figsize=(8, 0.32 * len(shown) + 1.2), layout="constrained")
    axes = figure.subplots()
    values = [row[key] for row in shown]
    spreads = [row[key] * row.get("spread", 0.0) for row in shown]
    colours = ["tab:gray" if _beside(row["name"]) else "tab:blue" for row in shown]
    axes.barh([_label(row) for row in shown], values, xerr=spreads, color=colours, height=0.7)
    axes.axvline(line, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlim(left=max(0.0, min([*values, line]) - 0.1))
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    for suffix in ("png", "svg"):
        figure.savefig(folder / f"{name}.{suffix}", dpi=150)


def draw_lines(folder: Path, name: str, series: Mapping[str, Sequence[tuple[float, float]]], *, x: str, y: str) -> None:
    """A line a contestant."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for label, points in series.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=label)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    for suffix in ("png", "svg"):
        figure.savefig(folder / f"{name}.{suffix}", dpi=150)


def _beside(name: str) -> bool:
    return "/" in name or name.startswith(("floor", "backbone"))


def _label(row: Row) -> str:
    shape = row.get("shape")
    return f"{row['name']} {shape}" if shape and shape not in row["name"] else str(row["name"])
