"""Write the results of a benchmark as JSON, and print them as a table.

The module of a benchmark must define `COLUMNS`, a dict from the key of each column to its heading in the table. It can
define `SHOWN`, the names of the rows in the table, and the function `conclusions`, which returns sentences to print
below the table.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.settings import Row
from krona.safe_files import write_whole

UNDER_LOAD = "Other processes ran during the measurement. Do not use these results."


def write_json(folder: Path, name: str, rows: Sequence[Row], facts: Mapping[str, Any]) -> Path:
    """Write the rows and the facts about the machine, the backbones and the settings. Return the path of the file."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"name": name, "rows": list(rows), **facts}
    file = folder / f"{name}.json"
    write_whole(file, lambda part: part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))
    return file


def show(module: Any, rows: Sequence[Row], *, title: str, console: Console, disturbed: bool) -> None:
    """Print the table and the conclusions of a benchmark."""
    if disturbed:
        console.print(UNDER_LOAD, style="bold red")
    table = Table(title=title, title_justify="left")
    for position, heading in enumerate(module.COLUMNS.values()):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    names = getattr(module, "SHOWN", None)
    for row in rows:
        if names is None or row["name"] in names:
            table.add_row(*(format_cell(key, row.get(key)) for key in module.COLUMNS))
    console.print(table)
    for line in module.conclusions(rows) if hasattr(module, "conclusions") and not disturbed else ():
        console.print(line, highlight=False, markup=False)


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
