"""A bench's result: one JSON, a table beside the paper's numbers, its conclusions, and a plot.

A module of a bench has `COLUMNS` (key → heading) and either `PLOT` (the key that is drawn, and what it is) or `panels`.
It may have `SHOWN` (names of the rows in the table) and `conclusions` (sentences).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.settings import Row
from krona.files import write_whole

Panels = Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]]  # panel → line → series → value, its spread
UNDER_LOAD = "other processes ran on the machine during the measurement: these are no figures"
REFERENCES = ("floor", "backbone", "peft"), ("/library", "/padded to 128")  # beginnings and ends of names
METHOD, REFERENCE = "methods", "references"


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
    shown = [row for row in rows if row["name"] in getattr(kind, "SHOWN", (row["name"],))]
    table = Table(title=title, title_justify="left")
    for position, heading in enumerate(kind.COLUMNS.values()):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    for row in shown:
        table.add_row(*(cell(key, row.get(key)) for key in kind.COLUMNS))
    console.print(table)
    for line in kind.conclusions(rows) if hasattr(kind, "conclusions") and not disturbed else ():
        console.print(line, highlight=False, markup=False)
    if disturbed:
        title += " · machine under load, no figures"
    if hasattr(kind, "PLOT"):
        key, what = kind.PLOT
        panels, reference = ratio_panels(rows, key), 1.0
    else:
        panels, what, reference = kind.panels(shown)
    draw(file.with_suffix(".svg"), panels, title=title, what=what, reference=reference)


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


def ratio_panels(rows: Sequence[Row], key: str) -> Panels:
    """One panel with a line for each row of the first batch size that has the ratio."""
    lines: dict[str, dict[str, tuple[float, float]]] = {}
    for row in rows:
        name, shape, ratio = row["name"], row["shape"], row.get(key)
        if ratio is not None and row.get("batch_size") == rows[0].get("batch_size"):
            starts, ends = REFERENCES
            series = REFERENCE if name.startswith(starts) or name.endswith(ends) else METHOD
            lines[f"{name} {shape}" if shape and shape not in name else name] = {series: (ratio, ratio * row["spread"])}
    return {"": lines}


def draw(file: Path, panels: Panels, *, title: str, what: str, reference: float | None) -> None:
    """Panels side by side, a line for each label, a dot for each series; bars are spreads. No axis begins at zero."""
    from matplotlib.figure import Figure

    height = sum(0.26 for line in max(panels.values(), key=len)) + 1.5
    figure = Figure(figsize=(4.4 * len(panels) + 3.2, height), layout="constrained")
    names = list(dict.fromkeys(name for lines in panels.values() for line in lines.values() for name in line))
    every = figure.subplots(1, len(panels), sharex=True, squeeze=False)[0]
    for axes, (panel, lines) in zip(every, panels.items(), strict=True):
        for number, name in enumerate(names):
            places = [place for place, line in enumerate(lines.values()) if name in line]
            values, spreads = zip(*(line[name] for line in lines.values() if name in line), strict=True) or ((), ())
            axes.errorbar(values, places, xerr=spreads, fmt="o", color=f"C{number}", markersize=4, label=name)
        axes.set_yticks(range(len(lines)), list(lines), fontsize=7)
        axes.invert_yaxis()
        if reference is not None:
            axes.axvline(reference, color="black", linewidth=0.8)
        axes.grid(axis="y", linewidth=0.3)
        axes.set_title(panel, loc="left", fontsize=10)
        axes.set_xlabel(what, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(file)
