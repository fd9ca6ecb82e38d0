"""The table of a bench, its conclusions in words, and its plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from krona.bench import output
from krona.bench.latency import constant_that_explains
from krona.messages import amount

Row = dict[str, Any]
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "training": {
        "name": "method", "shape": "A", "median_s": "fwd+bwd", "spread": "spread", "ratio_to_floor": "/ floor",
        "ratio_to_lora": "/ lora", "ratio_to_peft_lora": "/ peft lora", "ratio_to_peft_lokr": "/ peft lokr",
        "ratio_to_peft_form": "/ peft's form of it", "ratio_to_library_floor": "/ library's floor",
        "ratio_to_full": "/ full", "paper": "paper / full", "with_optimizer_s": "with optimiser",
    },
    "latency": {
        "name": "method", "form": "form", "batch_size": "batch", "source": "source", "median_s": "forward",
        "spread": "spread", "ratio_to_backbone": "/ backbone", "ratio_to_full": "/ full", "paper": "paper / full",
        "launches_added": "launches added",
    },
    "kronecker": {
        "name": "order", "shape": "A", "d_in": "in", "d_out": "out", "tokens": "rows", "median_s": "fwd+bwd",
        "spread": "spread", "ratio_to_floor": "/ layer", "ratio_to_lora": "/ lora", "ratio_to_best": "/ best",
        "planned": "planned", "best": "best",
    },
    "pipeline": {
        "name": "batches", "median_s": "step", "spread": "spread", "real_tokens_per_s": "real tokens/s",
        "ratio_to_padded": "/ padded",
    },
    "memory": {
        "name": "method", "backbone": "backbone", "batch_size": "batch", "length": "length", "adapters": "adapters",
        "peak_memory": "peak (MiB)", "ratio_to_full": "/ full", "median_s": "step with optimiser", "spread": "spread",
    },
    "serving": {
        "name": "method", "shape": "A", "form": "form", "adapters": "adapters", "median_s": "time", "spread": "spread",
        "rows_per_s": "rows/s", "ratio_to_merged": "/ merged",
    },
    "sweep": {
        "name": "a short run as", "jobs": "jobs", "median_s": "time", "spread": "spread",
        "ratio_to_process": "/ process",
    },
}  # fmt: skip
RATIOS = {
    "training": ("ratio_to_floor", "forward and backward over the floor"),
    "latency": ("ratio_to_backbone", "batch 1: forward over the bare backbone's"),
    "pipeline": ("ratio_to_padded", "real tokens a second over padding to 128"),
    "serving": ("ratio_to_merged", "time of a batch over that of one merged adapter"),
    "sweep": ("ratio_to_process", "time over that of a process of its own"),
}
UNDER_LOAD = "other processes ran on the machine during the measurement: these are no figures"


def show(name: str, rows: Sequence[Row], *, folder: Path, console: Console, disturbed: bool, on: str = "") -> None:
    """Print the table and its conclusions; write ``<name>.png`` and ``<name>.svg``."""
    if disturbed:
        console.print(UNDER_LOAD, style="bold red")
    shown = [row for row in rows if name != "kronecker" or row["name"] in ("krona", "lora", "krona/built")]
    output.print_table(console, f"bench={name}{on}", shown, COLUMNS[name])
    for line in _conclusions(name, rows, disturbed):
        console.print(line, highlight=False, markup=False)
    title = f"bench={name}{on}" + (" · machine under load, no figures" if disturbed else "")
    if name == "memory":
        output.draw_panels(folder, name, _growth(rows), title=title, y="peak memory (GiB)")
    elif name == "kronecker":
        output.draw_dots(folder, name, _dots(rows), title=title, x="forward and backward over the frozen layer's")
    else:
        key, what = RATIOS[name]
        drawn = [row for row in rows if name != "latency" or row["batch_size"] == 1]
        output.draw_ratios(folder, name, drawn, key, title=title, x=what)


def _conclusions(name: str, rows: Sequence[Row], disturbed: bool) -> list[str]:
    if name == "latency":
        found = constant_that_explains(rows)
        if found is None:
            return []
        return [
            f"Table 2's latencies by launches that plain modules add: one constant, {found[0]:,.0f} launches for the "
            f"bare model, leaves at most {found[1]:.2f} of its latency unexplained"
        ]
    if name != "kronecker" or disturbed:
        return []
    krona = [row for row in rows if row["name"] == "krona"]
    near = sum(row["ratio_to_best"] <= 1.1 for row in krona)
    built, at_paper = (
        max((row[key] for row in krona if row["kind"] in kinds), default=None)
        for key, kinds in (("ratio_to_built", ("paper", "square", "oblong")), ("ratio_to_lora", ("paper",)))
    )
    return [
        f"planned within 1.1 × of the best order: {near} of {len(krona)}",
        f"krona over the product built: at most {output.cell('ratio', built)}; over lora at the paper's shapes: "
        f"at most {output.cell('ratio', at_paper)}",
    ]


def _dots(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Panel (rows of input) → layer → contestant → ratio to the floor."""
    panels: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        if row["name"] in ("lora", "krona", "krona/built"):
            layer = f"{row['shape']}   {row['d_in']} → {row['d_out']}"
            panel = panels.setdefault(amount(row["tokens"], "row"), {})
            panel.setdefault(layer, {})[row["name"]] = row["ratio_to_floor"]
    return panels


def _growth(rows: Sequence[Row]) -> dict[str, dict[str, list[tuple[Any, float]]]]:
    """Panel (what grows) → method → points: those that differ from the first row in that alone."""
    axes = {"batch_size": "batch", "length": "length", "backbone": "model", "adapters": "adapters in the model"}
    start = rows[0]
    panels: dict[str, dict[str, list[tuple[Any, float]]]] = {}
    for key, label in axes.items():
        others = [other for other in axes if other != key]
        grown = [row for row in rows if all(row[other] == start[other] for other in others)]
        moving = {row["name"] for row in grown if row[key] != start[key]}
        for row in grown:
            if row["name"] in moving:
                point = (row[key], row["peak_memory"] / 2**30)
                panels.setdefault(label, {}).setdefault(row["name"], []).append(point)
    return panels
