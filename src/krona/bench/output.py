"""A bench's result: one JSON, a table beside the paper's numbers, a plot as PNG and SVG."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from krona.files import write_whole

Row = dict[str, Any]
COLOURS = {"krona": "tab:blue", "lora": "tab:gray", "krona/built": "tab:orange"}


def write_json(
    folder: Path, name: str, rows: Sequence[Row], *, machine: Mapping[str, Any], backbones: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Path:  # fmt: skip
    """``backbones``: their names in conf/backbone, and what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"machine": dict(machine), "backbones": dict(backbones), "settings": dict(settings)}
    content = {"name": name, "rows": list(rows), **facts}
    file = folder / f"{name}.json"
    write_whole(file, lambda part: part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))
    return file


def print_table(console: Console, title: str, rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    """``columns``: key → heading."""
    table = Table(title=title, title_justify="left")
    for position, heading in enumerate(columns.values()):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(cell(key, row.get(key)) for key in columns))
    console.print(table)


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


def draw_ratios(folder: Path, name: str, rows: Sequence[Row], key: str, *, title: str, x: str) -> None:
    """A dot per row with its spread, and a line at the reference, 1. No bars: the axis begins near 1."""
    shown = [row for row in rows if row.get(key) is not None]
    figure = _figure(8, 0.28 * len(shown) + 1.3)
    axes = figure.subplots()
    for place, row in enumerate(shown):
        colour, spread = "tab:gray" if _beside(row["name"]) else "tab:blue", row[key] * row.get("spread", 0.0)
        axes.errorbar(row[key], place, xerr=spread, fmt="o", color=colour, markersize=4, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [_label(row) for row in shown])
    axes.invert_yaxis()
    _finish(axes, title=title, x=x, ratios=True)
    _save(figure, folder, name)


def draw_dots(
    folder: Path, name: str, panels: Mapping[str, Mapping[str, Mapping[str, float]]], *, title: str, x: str
) -> None:
    """Panels side by side, a line per layer, a dot per contestant, on a scale of ratios."""
    lines = max(len(layers) for layers in panels.values())
    ratios = [ratio for layers in panels.values() for layer in layers.values() for ratio in layer.values()]
    ticks = [1, 1.2, 1.5, 2, 3, 5] if max(ratios) < 8 * min(ratios) else [0.1, 1, 10]
    figure = _figure(4.2 * len(panels) + 2.4, 0.22 * lines + 1.6)
    every = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (panel, layers) in zip(every, panels.items(), strict=True):
        for contestant, colour in COLOURS.items():
            at = [(layers[layer][contestant], line) for line, layer in enumerate(layers) if contestant in layers[layer]]
            axes.plot(*zip(*at, strict=True), "o", color=colour, markersize=4, label=contestant)
        axes.set_yticks(range(len(layers)), list(layers), fontsize=7)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        _finish(axes, title=panel, x=x, ratios=True)
    every[0].invert_yaxis()
    _head(figure, title)
    _save(figure, folder, name)


def draw_panels(
    folder: Path, name: str, panels: Mapping[str, Mapping[str, Sequence[tuple[Any, float]]]], *, title: str, y: str
) -> None:
    """A panel per growing quantity, a line per method."""
    figure = _figure(3.0 * max(1, len(panels)) + 1.6, 3.6)
    every = figure.subplots(1, max(1, len(panels)), sharey=True, squeeze=False)[0]
    names = list(dict.fromkeys(method for series in panels.values() for method in series))
    for axes, (label, series) in zip(every, panels.items(), strict=False):
        marks = sorted({mark for points in series.values() for mark, _ in points}, key=_growing(series))
        for method, points in series.items():
            by_mark = sorted((marks.index(mark), value) for mark, value in points)
            axes.plot(*zip(*by_mark, strict=True), marker="o", markersize=4, color=f"C{names.index(method)}")
        axes.set_xticks(range(len(marks)), [str(mark) for mark in marks], fontsize=8)
        axes.margins(x=0.12)
        _finish(axes, title=label, x="")
    every[0].set_ylabel(y)
    every[0].set_ylim(bottom=0)
    for number, method in enumerate(names):
        every[-1].plot([], [], marker="o", markersize=4, color=f"C{number}", label=method)
    _head(figure, title)
    _save(figure, folder, name)


def _growing(series: Mapping[str, Sequence[tuple[Any, float]]]) -> Any:
    """The key that sorts marks: a number by itself, a model by its memory."""
    size = {mark: value for points in series.values() for mark, value in points}
    return lambda mark: mark if isinstance(mark, int) else size[mark]


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _finish(axes: Any, *, title: str, x: str, ratios: bool = False) -> None:
    if ratios:
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.grid(axis="y", linewidth=0.3)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(x, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _head(figure: Any, title: str) -> None:
    """The title of several panels, and the legend that they share."""
    legend = figure.axes[-1].get_legend_handles_labels()
    figure.legend(*legend, loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)


def _save(figure: Any, folder: Path, name: str) -> None:
    for suffix in ("png", "svg"):
        figure.savefig(folder / f"{name}.{suffix}", dpi=150)


def _beside(name: str) -> bool:
    """Whether a row is a reference and none of the forms that ship."""
    return name.startswith(("floor", "backbone", "peft")) or name.endswith(("/plain", "/library", "/padded to 128"))


def _label(row: Row) -> str:
    shape = row.get("shape")
    return f"{row['name']} {shape}" if shape and shape not in row["name"] else str(row["name"])
